"""The report of an evaluation: JSON for machines, and one page for people that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.storage import atomic_file, write_json
from recommender.evaluation.evaluation import POPULARITY, SERVED
from recommender.evaluation.feedback.names import DEFINITIONS as OF_FEEDBACK
from recommender.evaluation.feedback.tables import feedback_samples, feedback_tables
from recommender.evaluation.names import (
    ACCURACY,
    BEYOND_ACCURACY,
    DEFINITIONS,
    NOT_RANKED,
    RERANKED,
    gap_warnings,
    name_models,
    rerank_name,
    served_in,
)
from recommender.evaluation.plots import plot_curve, plot_groups, plot_reliability, plot_trade_off, plot_user_groups
from recommender.evaluation.reasons.tables import DEFINITIONS as OF_REASONS
from recommender.evaluation.reasons.tables import reasons_tables
from recommender.metrics.ranking import metric_key
from recommender.metrics.significance import CHANCE, Comparison

TEMPLATE = Path(__file__).parent / "assets" / "evaluation.html.j2"


def write_report(
    page: Path,
    metrics: Mapping[str, Any],
    *,
    title: str,
    subtitle: str,
    comparison: Comparison | None = None,
    decision: str = "",
) -> Path:
    """Write `<page>` and, beside it, the same figures as `<page>.json` (its suffix replaced), each atomically.

    Args:
        page: The HTML file.
        metrics: What `evaluation.evaluate_bundle` returned; `served` names the ranker in service (default: the
            bundle's).
        subtitle: Which bundle, which data.
        comparison: With the bundle that was in service.
        decision: What the gate decided, and why; empty where no gate was asked.
    Returns:
        The JSON file.
    """
    figures = page.with_suffix(".json")
    champion = None if comparison is None else asdict(comparison)
    write_json(figures, {**metrics, "champion": champion, "decision": decision or None})
    with atomic_file(page) as temporary:
        temporary.write_text(render(metrics, title, subtitle, comparison, decision), encoding="utf-8")
    return figures


def render(
    metrics: Mapping[str, Any], title: str, subtitle: str, comparison: Comparison | None = None, decision: str = ""
) -> str:
    """The page as text."""
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=False).from_string(TEMPLATE.read_text(encoding="utf-8"))
    names = name_models(metrics["ranking"], served_in(metrics))
    feedback, reasons = feedback_tables(metrics), reasons_tables(metrics)
    return template.render(
        title=title,
        subtitle=subtitle,
        tiles=_tiles(metrics),
        verdict=verdict(metrics),
        decision=decision,
        champion=None if comparison is None else comparison.sentence(),
        warnings=gap_warnings(metrics),
        tables=[
            *_judgement_tables(metrics),
            *_ranking_tables(metrics, names),
            _difference_table(metrics, names),
            *_reranking_tables(metrics),
            *_gap_tables(metrics),
            *_scorer_tables(metrics),
            *feedback,
            *reasons,
            *_cap_tables(metrics),
        ],
        samples=feedback_samples(metrics),
        plots=_plots(metrics, names),
        definitions={**DEFINITIONS, **(OF_FEEDBACK if feedback else {}), **(OF_REASONS if reasons else {})},
    )


def verdict(metrics: Mapping[str, Any]) -> str:
    """One sentence: which rankers the bundle's own is surely above, and which it is not."""
    key = metric_key("ndcg", metrics["k"])
    names = name_models(metrics["differences"], served_in(metrics))
    sure = [name for model, name in names.items() if metrics["differences"][model][key]["low"] > 0]
    other = [name for model, name in names.items() if name not in sure]
    sentence = (
        f"By {key}, {_ranker_in_words(metrics)} is surely above {_listed(sure)}"
        if sure
        else f"By {key}, nothing is surely beaten"
    )
    return f"{sentence}; not surely above {_listed(other)}." if other else f"{sentence}."


def _ranker_in_words(metrics: Mapping[str, Any]) -> str:
    """What the bundle's own ranker is called in a sentence."""
    return "what is served" if served_in(metrics) == SERVED else "the candidate"


def _tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    served, intervals, k = metrics["ranking"][SERVED], metrics["intervals"][SERVED], metrics["k"]
    tiles = [
        {
            "name": f"{name} at {k}",
            "value": f"{served[metric_key(key, k)]:.4f}",
            "note": "{:.4f} to {:.4f}".format(*intervals[metric_key(key, k)]),
        }
        for key, name in (("ndcg", "NDCG"), ("recall", "recall"), ("hit_rate", "hit rate"))
    ]
    users = metrics["n_queries"]
    tiles.append(
        {"name": "test users", "value": f"{users['all']:,}", "note": f"{users['warm']:,} with a history"},
    )
    return tiles


def _ranking_tables(metrics: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, Any]]:
    shown = [
        ("Accuracy", ACCURACY, f"Lists of {metrics['k']}, the whole catalogue ranked, items already seen left out."),
        ("Beyond accuracy", BEYOND_ACCURACY, "Of the same lists."),
    ]
    return [_ranking_table(metrics, names, *one) for one in shown]


def _ranking_table(
    metrics: Mapping[str, Any], names: Mapping[str, str], title: str, measures: Mapping[str, str], note: str
) -> dict[str, Any]:
    ranking, intervals = metrics["ranking"], metrics["intervals"]
    keys = {name: _key(name, metrics["k"]) for name in measures}
    keys = {name: key for name, key in keys.items() if key in ranking[SERVED]}
    best = {key: max(ranking[model][key] for model in names if key in ranking[model]) for key in keys.values()}
    rows = []
    for model, called in names.items():
        cells = []
        for name, key in keys.items():
            if key not in ranking[model]:
                cells.append({"text": "–", "note": "", "mark": ""})
                continue
            interval = intervals[model].get(key)
            cells.append(
                {
                    "text": _shown(ranking[model][key]),
                    "note": "" if interval is None else f"{_shown(interval[0])}–{_shown(interval[1])}",
                    "mark": "best" if name not in NOT_RANKED and ranking[model][key] == best[key] else "",
                }
            )
        rows.append({"name": called, "served": model == served_in(metrics), "cells": cells})
    columns = ["ranker", *(measures[name] for name in keys)]
    return {"title": title, "note": note, "columns": columns, "rows": rows}


def _difference_table(metrics: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    keys = [metric_key(name, metrics["k"]) for name in ("ndcg", "recall", "mrr", "map")]
    rows = []
    for model, called in names.items():
        if model in metrics["differences"]:
            differences = [metrics["differences"][model][key] for key in keys]
            rows.append({"name": called, "served": False, "cells": [_difference_cell(one) for one in differences]})
    return {
        "title": f"{_ranker_in_words(metrics).capitalize()}, less each other ranker",
        "note": "Per user, paired. Green: the interval lies above zero; red: below.",
        "columns": ["compared with", *keys],
        "rows": rows,
    }


def _difference_cell(one: Mapping[str, float]) -> dict[str, str]:
    mark = "better" if one["low"] > 0 else "worse" if one["high"] < 0 else ""
    note = f"{one['low']:+.4f} to {one['high']:+.4f}\np {one['p_value']:.4f}"
    return {"text": f"{one['mean']:+.4f}", "note": note, "mark": mark}


def _reranking_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    table = metrics.get("reranking")
    if not table:
        return []
    rows = [
        {
            "name": rerank_name(row),
            "served": False,
            "cells": [_reranking_cell(row, name) for name in RERANKED],
        }
        for row in table["rows"]
    ]
    note = (
        f"Lists of {metrics['k']} for {table['n_queries']:,} users, re-ranked. The gate and every other table look at "
        "the ranker's own lists."
    )
    return [{"title": "Re-ranking", "note": note, "columns": ["list", *RERANKED.values()], "rows": rows}]


def _reranking_cell(row: Mapping[str, Any], name: str) -> dict[str, str]:
    if name != "cost":
        return {"text": _shown(row[name]), "note": "", "mark": ""}
    return _difference_cell(row["cost"]) if "cost" in row else {"text": "–", "note": "", "mark": ""}


def _gap_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    gaps = metrics.get("gaps")
    if not gaps:
        return []
    rows = [
        {
            "name": gap["grouping"],
            "served": False,
            "cells": [
                {"text": gap["metric"], "note": "", "mark": ""},
                *(_gap_group(gap, gap[which]) for which in ("best", "worst")),
                {"text": f"{gap['gap']:.4f}", "note": f"{gap['low']:.4f} to {gap['high']:.4f}", "mark": ""},
                {"text": f"{gap['p_value']:.4f}", "note": "", "mark": ""},
                {
                    "text": f"{gap['adjusted_p_value']:.4f}",
                    "note": "beyond noise" if gap["beyond_noise"] else "",
                    "mark": "worse" if gap["beyond_noise"] else "",
                },
            ],
        }
        for gap in gaps
    ]
    columns = ["grouping", "measure", "best group", "worst group", "gap", "p", "p, corrected"]
    note = f"Of {_ranker_in_words(metrics)}. Groups of at least 10."
    return [{"title": "Gaps between groups", "note": note, "columns": columns, "rows": rows}]


def _gap_group(gap: Mapping[str, Any], name: str) -> dict[str, str]:
    group = gap["groups"][name]
    return {"text": f"{name}: {group['mean']:.4f}", "note": f"n = {group['n']:,}", "mark": ""}


def _judgement_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparison with the bundle in service by segment, and the guardrails; none where nothing was compared."""
    judgement = metrics.get("judgement") or {}
    tables = []
    if segments := judgement.get("segments"):
        note = (
            "On choices that neither learned from. Intervals hold for all segments together (Bonferroni), p is "
            "corrected for their number (Holm)."
        )
        columns = ["", "users", "candidate", "in service", "difference", "p, corrected"]
        tables.append(_table("By segment", note, columns, [_segment_row(one) for one in segments]))
    if asked := judgement.get("off_policy"):
        columns = ["", "users", "doubly robust", "SNIPS", "IPS", "effective sample size", "mean weight"]
        rows = [_clicks_row(name, one) for name in ("candidate", "in_service") if (one := asked[name])]
        tables.append(_table("Clicks on lists that explored", f"Off-policy: {asked['says']}.", columns, rows))
    if guardrails := judgement.get("guardrails"):
        rows = [
            {
                "name": one["name"].replace("_", " "),
                "served": False,
                "cells": [
                    {"text": one["state"], "note": "", "mark": "worse" if one["state"] == "broken" else ""},
                    {"text": one["found"], "note": "", "mark": ""},
                ],
            }
            for one in guardrails
        ]
        note = "What must not get worse for a better overall figure (recipe.gate.guardrails)."
        tables.append(_table("Guardrails", note, ["", "state", "found"], rows))
    return tables


def _clicks_row(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """Clicks per list that a bundle's lists would have brought; dashes where there is no estimate."""
    found = [one[estimator] for estimator in ("doubly_robust", "snips", "ips")]
    estimates = [
        {"text": "–", "note": "", "mark": ""}
        if figure is None
        else {"text": f"{figure['value']:.4f}", "note": f"{figure['low']:.4f} to {figure['high']:.4f}", "mark": ""}
        for figure in found
    ]
    told = [f"{one['effective'][-1]:,.0f}", f"{one['support'][-1]:.2f}"] if one["effective"] else ["–", "–"]
    users = {"text": f"{one['users']:,}", "note": f"{one['lists']:,} lists", "mark": ""}
    cells = [users, *estimates, *({"text": text, "note": "", "mark": ""} for text in told)]
    return {"name": name.replace("_", " "), "served": False, "cells": cells}


def _table(title: str, note: str, columns: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "note": note, "columns": columns, "rows": rows}


def _segment_row(one: Mapping[str, Any]) -> dict[str, Any]:
    is_worse = one["adjusted_p_value"] <= CHANCE and one["difference"] < 0
    interval = f"{one['low']:+.4f} to {one['high']:+.4f}"
    cells = [
        {"text": f"{one['n_users']:,}", "note": "", "mark": ""},
        *({"text": f"{one[name]:.4f}", "note": "", "mark": ""} for name in ("candidate", "champion")),
        {"text": f"{one['difference']:+.4f}", "note": interval, "mark": "worse" if is_worse else ""},
        {"text": f"{one['adjusted_p_value']:.4f}", "note": "", "mark": ""},
    ]
    return {"name": f"{one['grouping']}: {one['segment']}", "served": False, "cells": cells}


def _scorer_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    models = (metrics.get("scorer") or {}).get("models")
    if not models:
        return []
    measures = list(dict.fromkeys(measure for values in models.values() for measure in values))
    rows = [
        {
            "name": model.replace("_", " "),
            "served": model == "pair_scorer",
            "cells": [{"text": _shown(values[m]) if m in values else "–", "note": "", "mark": ""} for m in measures],
        }
        for model, values in models.items()
    ]
    note = f"{metrics['scorer']['n_pairs']:,} ratings of the test window."
    return [{"title": "Ratings and likes", "note": note, "columns": ["model", *measures], "rows": rows}]


def _cap_tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the fits took only a part of; none where each took all."""
    rows = [
        {
            "name": cap["what"],
            "served": False,
            "cells": [
                {"text": text, "note": "", "mark": ""}
                for text in (component, f"{cap['taken']:,}", f"{cap['there']:,}", cap["by"])
            ],
        }
        for component, caps in metrics.get("caps", {}).items()
        for cap in caps
    ]
    if not rows:
        return []
    note = "Where a fit took only so many of what there is."
    return [{"title": "Left out", "note": note, "columns": ["", "component", "taken", "of", "by"], "rows": rows}]


def _plots(metrics: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, Any]]:
    k, ranking = metrics["k"], metrics["ranking"]
    plots = []
    if metrics["by_history_length"]:
        svg = plot_groups(metrics["by_history_length"], names, SERVED, f"NDCG@{k}")
        caption = f"NDCG@{k} by how many items of the history the model knows."
        plots.append(_plot("Quality by history length", svg, caption, _group_rows(metrics["by_history_length"], names)))
    if metrics["by_item_popularity"]:
        svg = plot_groups(metrics["by_item_popularity"], names, SERVED, f"recall@{k} of such items")
        caption = f"Share of wanted items found, by how popular they are (thirds of all training events), lists of {k}."
        rows = _group_rows(metrics["by_item_popularity"], names)
        plots.append(_plot("Quality by item popularity", svg, caption, rows))
    if metrics["by_user_group"]:
        svg = plot_user_groups(metrics["by_user_group"], SERVED, f"NDCG@{k}")
        gaps = ", ".join(f"{name} {group['gap'][SERVED]:.4f}" for name, group in metrics["by_user_group"].items())
        caption = (
            f"NDCG@{k} of {_ranker_in_words(metrics)}, by group of users. Gap of the best and the worst group: {gaps}."
        )
        plots.append(_plot("Quality by user group", svg, caption))
    beyond = {_key(name, k): BEYOND_ACCURACY[name] for name in ("coverage", "novelty")}
    across = {key: title for key, title in beyond.items() if key in ranking[POPULARITY]}
    if across:
        svg = plot_trade_off(ranking, names, SERVED, across, metric_key("ndcg", k))
        caption = "Each ranker's accuracy against the share of the catalogue it shows, and how novel that is."
        plots.append(_plot("Coverage and novelty against accuracy", svg, caption))
    bins = (metrics.get("scorer") or {}).get("reliability")
    if bins:
        caption = "Calibration of the pair scorer: where it says p, which share of the pairs was liked."
        plots.append(_plot("Calibration of P(like)", plot_reliability(bins), caption))
    for number, (component, curve) in enumerate(metrics.get("curves", {}).items()):
        caption = f"Learning curve of the component '{component}'."
        plots.append(_plot("" if number else "Learning curves", plot_curve(curve), caption))
    return plots


def _plot(title: str, svg: str, caption: str, rows: list[list[str]] | None = None) -> dict[str, Any]:
    header, *body = rows or [[]]
    return {"title": title, "svg": svg, "caption": caption, "columns": header, "rows": body}


def _group_rows(table: Mapping[str, Mapping[str, float]], names: Mapping[str, str]) -> list[list[str]]:
    rows = [["group", "n", *names.values()]]
    for group, values in table.items():
        size = values.get("n_queries", values.get("n_targets", 0))
        rows.append([group, f"{size:,}", *(_shown(values[model]) for model in names)])
    return rows


def _key(name: str, k: int) -> str:
    return name if name == "gauc" else metric_key(name, k)


def _shown(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def _listed(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:-1]) + f" and {quoted[-1]}" if len(quoted) > 1 else quoted[0]
