"""What a run leaves in the Prefect UI. The texts are built by plain functions; `publish_…` hands them to Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from recommender.evaluation.names import MODEL_NAMES, RERANKED, gap_warnings, name_models, rerank_name, served_in
from recommender.metrics.ranking import metric_key

if TYPE_CHECKING:
    from core.promotions import Version
    from flows.promotion.gate import Decision
    from monitoring.drift import DriftSummary
    from monitoring.online.intervals import Interval
    from validation.quarantine.readmission import ReadmissionSummary
    from validation.summary import ValidationSummary


_VERDICTS = {"promote": "is promoted", "canary": "answers some users first", "refuse": "is not promoted"}


def describe_validation(summary: ValidationSummary, docs_url: str) -> str:
    """Markdown: rows in, clean, quarantined and repeated, per table, and the rules that were broken."""
    lines = [
        "# Validation",
        "",
        "| table | rows in | clean | quarantined | duplicates | broken rules |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, table in summary.tables.items():
        rules = ", ".join(f"{rule} ({count})" for rule, count in table.rules.items() if count) or "–"
        counts = (table.rows_in, table.rows_clean, table.rows_quarantined, table.duplicates)
        lines.append(f"| {name} | {' | '.join(str(count) for count in counts)} | {rules} |")
    repaired = [
        f"- {name}: {', '.join(f'{what} ({count})' for what, count in table.cleaned.items())}"
        for name, table in summary.tables.items()
        if table.cleaned
    ]
    warned = [
        *summary.warnings,
        *(f"{name}: {rule} ({n})" for name, table in summary.tables.items() for rule, n in table.warnings.items()),
    ]
    lines += ["", "## Repaired", "", *repaired] if repaired else []
    lines += ["", "## Warnings", "", *(f"- {warning}" for warning in warned)] if warned else []
    return "\n".join([*lines, "", f"[Data Docs]({docs_url})"])


def describe_readmission(let_in: ReadmissionSummary, before: ValidationSummary, after: ValidationSummary) -> str:
    """Markdown: rows let in, and clean and quarantined rows of each table before and after."""
    lines = [
        "# Readmission",
        "",
        f"{sum(let_in.rows.values())} rows were let in: "
        + (", ".join(f"{name} {count}" for name, count in let_in.rows.items()) or "none"),
        "",
        "| table | clean before | clean after | quarantined before | quarantined after |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, table in after.tables.items():
        was = before.tables[name]
        counts = (was.rows_clean, table.rows_clean, was.rows_quarantined, table.rows_quarantined)
        lines.append(f"| {name} | {' | '.join(str(count) for count in counts)} |")
    return "\n".join(lines)


def metric_rows(metrics: Mapping[str, Any], k: int) -> list[dict[str, Any]]:
    """One row per model: the ranking metrics at k over all test users, rounded, and the 95 % interval of the NDCG."""
    shown = [metric_key(name, k) for name in ("recall", "ndcg", "mrr", "map", "precision", "hit_rate")]
    ndcg = metric_key("ndcg", k)
    rows = []
    for model, name in name_models(metrics["ranking"], served_in(metrics)).items():
        figures = metrics["ranking"][model]
        low, high = metrics["intervals"][model][ndcg]
        rows.append(
            {
                "model": name,
                **{key: round(figures[key], 4) for key in shown},
                f"{ndcg}_interval": f"{low:.4f} to {high:.4f}",
            }
        )
    return rows


def beyond_rows(metrics: Mapping[str, Any], k: int) -> list[dict[str, Any]]:
    """One row per model: what its lists are like, rounded."""
    names = ("coverage", "gini", "diversity", "novelty", "serendipity", "popularity")
    keys = [metric_key(name, k) for name in names]
    return [
        {"model": name, **{key: round(metrics["ranking"][model][key], 4) for key in keys}}
        for model, name in name_models(metrics["ranking"], served_in(metrics)).items()
    ]


def history_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per length of the history: test users, and the NDCG of every model, rounded."""
    names = name_models(metrics["ranking"], served_in(metrics))
    return [
        {
            "known items": length,
            "users": figures["n_queries"],
            **{name: round(figures[model], 4) for model, name in names.items()},
        }
        for length, figures in metrics["by_history_length"].items()
    ]


def rerank_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per re-ranking: what its lists are like, rounded, and what it costs in NDCG, with the interval."""
    rows = []
    for row in metrics["reranking"]["rows"]:
        cost = row.get("cost")
        said = "" if cost is None else f"{cost['mean']:+.4f} ({cost['low']:+.4f} to {cost['high']:+.4f})"
        figures = {title: said if name == "cost" else round(row[name], 4) for name, title in RERANKED.items()}
        rows.append({"list": rerank_name(row), **figures})
    return rows


def describe_gaps(metrics: Mapping[str, Any]) -> str:
    """Markdown: every gap between groups with its interval and p-values, and a warning for each one beyond noise."""
    gaps, warnings = metrics["gaps"], gap_warnings(metrics)
    lines = [
        "# Gaps between groups",
        "",
        *(f"- **Warning**: {warning}" for warning in warnings or []),
        *([] if warnings else ["None is beyond noise."]),
        "",
        "| grouping | measure | best | worst | gap | 95 % | p | p, corrected |",
        "| --- | --- | --- | --- | ---: | --- | ---: | ---: |",
    ]
    for gap in gaps:
        means = (f"{gap[name]}: {gap['groups'][gap[name]]['mean']:.4f}" for name in ("best", "worst"))
        interval = f"{gap['low']:.4f} to {gap['high']:.4f}"
        figures = f"{gap['gap']:.4f} | {interval} | {gap['p_value']:.4f} | {gap['adjusted_p_value']:.4f}"
        lines.append(f"| {gap['grouping']} | {gap['metric']} | {' | '.join(means)} | {figures} |")
    return "\n".join(lines)


def describe_decision(decision: Decision, in_service: Version | None) -> str:
    """Markdown: promoted or kept, why, the best baseline, and which bundle is in service now."""
    best = decision.baseline
    verdict = (
        "waits for approval"
        if decision.waits
        else _VERDICTS["promote" if decision.promote else "canary" if decision.canary else "refuse"]
    )
    if decision.waits and decision.lost_to_baseline and best is not None:
        verdict = f"is not promoted; {MODEL_NAMES[best.kind]} waits for approval in its place"
    elif decision.canary and decision.lost_to_baseline and best is not None:
        verdict = f"is not promoted; {MODEL_NAMES[best.kind]} answers some users in its place"
    elif decision.promote_baseline and best is not None:
        verdict += f"; {MODEL_NAMES[best.kind]} serves in its place"
    figures = [("candidate", decision.candidate), ("in service before", decision.champion)]
    if best is not None:
        figures.append((f"best baseline: {MODEL_NAMES[best.kind]}", best.value))
    lines = [
        f"# The candidate {verdict}",
        "",
        decision.reason + ".",
        "",
        f"| | {decision.metric} |",
        "| --- | ---: |",
    ]
    lines += [f"| {name} | {value:.4f} |" for name, value in figures if value is not None]
    if best is not None:
        interval = f"{best.difference:+.4f} [{best.low:+.4f}, {best.high:+.4f}]"
        lines += ["", f"Candidate less the best baseline: {interval}, p = {best.p_value:.4f}."]
    lines += ["", decision.comparison.sentence()] if decision.comparison else []
    lines += _describe_clicks(decision) + _describe_guardrails(decision) + _describe_segments(decision)
    lines += ["", decision.refit] if decision.refit else []
    return "\n".join([*lines, "", f"In service: `{in_service.tag if in_service else 'nothing'}`"])


def _describe_guardrails(decision: Decision) -> list[str]:
    """Markdown: what must not get worse, and whether it does; none where nothing is in service."""
    if not decision.guardrails:
        return []
    rows = [f"| {one.name.replace('_', ' ')} | {one.state} | {one.found} |" for one in decision.guardrails]
    return ["", "## Guardrails", "", "| | | found |", "| --- | --- | --- |", *rows]


def _describe_clicks(decision: Decision) -> list[str]:
    """Markdown: clicks per list by lists that explored; none where none did."""
    found = decision.off_policy
    if found is None:
        return []
    said = found.describe()
    lines = ["", "## Clicks on lists that explored", "", f"{said[0].upper()}{said[1:]}."]
    rows = [
        f"| {name} | {one.lists:,} | {one.users:,} | {_clicks(one.doubly_robust)} | {_clicks(one.snips)} | "
        f"{_clicks(one.ips)} | {one.effective[-1]:,.0f} | {one.support[-1]:.2f} |"
        for name, one in (("candidate", found.candidate), ("in service", found.in_service))
        if one is not None and one.effective
    ]
    head = ["| | lists | users | doubly robust | SNIPS | IPS | effective sample size | mean weight |"]
    return [*lines, "", *head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", *rows] if rows else lines


def _clicks(one: Interval | None) -> str:
    return "" if one is None else f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"


def _describe_segments(decision: Decision) -> list[str]:
    """Markdown: the comparison with the bundle in service by segment."""
    if not decision.segments:
        return []
    rows = [
        f"| {one.grouping}: {one.segment} | {one.n_users:,} | {one.candidate:.4f} | {one.champion:.4f} | "
        f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}] | {one.adjusted_p_value:.4f} |"
        for one in decision.segments
    ]
    head = ["| segment | users | candidate | in service | difference | p, corrected |"]
    return ["", "## By segment", "", *head, "| --- | ---: | ---: | ---: | --- | ---: |", *rows]


def describe_drift(summary: DriftSummary, page_url: str, monitoring_url: str) -> str:
    """Markdown: the alarms, the named cause first, what was left out; or why nothing was compared."""
    links = f"[Report]({page_url}) · [Evidently]({monitoring_url})"
    if summary.note:
        return "\n".join(["# No drift was looked for", "", summary.note, "", links])
    told = [one for one in summary.signals if not one.note]
    lines = [f"# {len(summary.alarms)} signals moved" if summary.alarms else "# No drift", ""]
    if summary.reference is not None:
        lines += [f"{len(told)} figures against {' to '.join(summary.reference)}.", ""]
    if summary.flooded_events:
        lines += [f"{summary.flooded_events} events of {summary.flooded_users} bots or floods are left out.", ""]
    if summary.alarms:
        lines += ["| signal | since | p | broken | |", "| --- | --- | ---: | --- | --- |"]
    for alarm in summary.alarms:
        broken = "yes" if alarm.broken else "no"
        lines.append(f"| {alarm.signal} | {alarm.since} | {alarm.p_value:.2g} | {broken} | {alarm.says} |")
    return "\n".join([*lines, "", links])


def publish_validation(summary: ValidationSummary, docs_url: str) -> None:
    """Keep the validation summary with the run."""
    _markdown("validation-summary", describe_validation(summary, docs_url), "Rows in, clean and quarantined")


def publish_readmission(let_in: ReadmissionSummary, before: ValidationSummary, after: ValidationSummary) -> None:
    """Keep what a readmission changed with the run."""
    _markdown("readmission", describe_readmission(let_in, before, after), "Rows let in again, before and after")


def publish_metrics(metrics: Mapping[str, Any], k: int, page_url: str) -> None:
    """Keep the metric tables and the way to the evaluation report with the run."""
    _table("metrics", metric_rows(metrics, k), "Test window, full ranking: baselines, before and after fine-tuning")
    _table("beyond-accuracy", beyond_rows(metrics, k), "Coverage, diversity, novelty, serendipity, popularity bias")
    _table("history-lengths", history_rows(metrics), "NDCG by how many items of the history the model knows")
    _table("reranking", rerank_rows(metrics), "What re-ranking brings, and what it costs in NDCG")
    _markdown("group-gaps", describe_gaps(metrics), "Who is served better, and whether that is more than noise")
    link = f"[Evaluation report]({page_url}) · [the same as JSON]({page_url.removesuffix('.html')}.json)"
    _markdown("evaluation-report", link, "Tables with intervals, plots, calibration, learning curves")


def publish_decision(decision: Decision, in_service: Version | None) -> None:
    """Keep the gate's decision with the run."""
    _markdown("promotion-decision", describe_decision(decision, in_service), "Does the candidate replace?")


def publish_drift(summary: DriftSummary, page_url: str, monitoring_url: str) -> None:
    """Keep the drift summary with the run."""
    _markdown("drift-summary", describe_drift(summary, page_url, monitoring_url), "Newest days against the quiet past")


def publish_steps(steps: Sequence[Mapping[str, Any]]) -> None:
    """Keep what each step took with the run; steps whose results were kept from before are not listed."""
    _table("steps", list(steps), "Wall time and peak memory of the steps that ran")


def publish_starts(rows: Sequence[Mapping[str, Any]], why: str, is_refit: bool) -> None:
    """Keep with the run which parts started from the weights in service, and what each did against a full fit."""
    _table(f"warm-start{'-refit' if is_refit else ''}", rows, why)


def publish_receipt(number: int, text: str) -> None:
    """Keep the receipt of a person who was forgotten with the run; it does not have their id."""
    _markdown(f"receipt-{number}", text, "What was removed, and which bundles had to go")


def describe_texts(written: Mapping[str, Any]) -> str:
    """Markdown: what was written for an audience, and where it lies."""
    lines = ["# Texts", "", "| | |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in written.items())])


def publish_texts(written: Mapping[str, Any]) -> None:
    """Keep what was written for an audience with the run."""
    _markdown("texts", describe_texts(written), "The texts of an audience")


class TextsProgress:
    """How far texts are written, as a bar in the Prefect UI."""

    def __init__(self) -> None:
        self._bar: UUID | None = None

    def show(self, share: float, said: str) -> None:
        """Bring it up to date.

        Args:
            share: Of the parts, from 0 to 1.
        """
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if self._bar is None:
            made = create_progress_artifact(progress=100 * share, key="texts-progress", description=said)
            self._bar = cast(UUID, made)
            return
        update_progress_artifact(self._bar, progress=100 * share, description=said)


def _markdown(key: str, text: str, description: str) -> None:
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(key=key, markdown=text, description=description)


def _table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    from prefect.artifacts import create_table_artifact

    create_table_artifact(key=key, table=[dict(row) for row in rows], description=description)
