"""Where an answer of the service came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows, show

if TYPE_CHECKING:
    from monitoring.origin import Lineage, Served


def lineage(recommendation_id: str, /, *, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show what an answer showed, which bundle gave it, what that was made of, and what is not known any more.

    Args:
        recommendation_id: Of the answer.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from monitoring.lineage import trace

    found = trace(Layout(settings.work_dir, settings.shop), recommendation_id, settings.serving.predictions.days)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    if not found.shown:
        _show_gone(found)
        return
    shown = found.shown
    show(f"answered {shown['at']} at {shown['endpoint']} by {shown['model']}")
    if shown.get("experiment"):
        show(f"experiment {shown['experiment']}, variant {shown['variant']}, by {shown['unit']}")
    chances = shown.get("propensities") or [None] * len(shown["items"])
    rules = shown.get("rules") or [""] * len(shown["items"])
    rows = zip(shown["items"], shown["scores"], chances, rules, strict=True)
    print_rows(
        [
            {
                "position": place,
                "item_id": item,
                "score": f"{score:.4f}",
                "propensity": "" if p is None else f"{p:.4f}",
                "rule": rule,
            }
            for place, (item, score, p, rule) in enumerate(rows, 1)
        ],
        as_json=False,
    )
    if features := shown.get("features"):
        history = ", ".join(features["history"]) or "none"
        show(f"features as read: {features['n_history']} items of a history, the newest {history}")
        told = {name: value for name, value in features.items() if name not in ("history", "n_history")}
        for name, value in told.items():
            if value not in (None, "", {}):
                show(f"features as read: {name} {_in_words(value)}")
    if bundle := found.bundle:
        data = bundle.data
        show(f"bundle: digest {bundle.digest}, {bundle.kind}, made {bundle.created_at}, code {bundle.code_version}")
        show(f"data: fingerprint {data.fingerprint}, {data.first_event_at} to {data.last_event_at}")
        show(f"learned until {data.learned_until_at.isoformat()}; settings: digest {bundle.recipe_digest}")
        show(f"evaluation: sommelier evaluate {bundle.digest}")
    _show_why(found)
    for sentence in found.unknown:
        show(f"not known: {sentence}")


def _show_gone(found: Lineage) -> None:
    """What answered when the id was given, where the record is gone."""
    show(f"given {found.given_at}; the list is no longer kept")
    for one in found.served:
        show(f"answered then: {one.model}, {one.says}")
        if one.bundle is not None:
            learned = f"{one.bundle.data.first_event_at} to {one.bundle.data.learned_until_at.isoformat()}"
            show(f"  digest {one.bundle.digest}, learned from {learned}")
        _show_why(one, "  ")
    for sentence in found.unknown:
        show(f"not known: {sentence}")


def _show_why(found: Lineage | Served, before: str = "") -> None:
    """How a bundle came into service, and after what."""
    for change in found.promotions:
        show(f"{before}{change['action']} {change['at']}: {change['reason'] or 'no reason was kept'}")
    if found.run:
        show(f"{before}after: {found.run.kind} {found.run.subject}: {found.run.says}")


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join("–" if one is None else str(one) for one in value) if isinstance(value, list) else str(value)
