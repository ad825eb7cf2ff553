"""What the gate said, on the time line, and the promotion that followed."""

from __future__ import annotations

from core.layout import Layout
from core.logs.timeline import Entry, Timeline
from flows.loop.changes import record_changes
from flows.loop.events import emit
from flows.loop.runs import current_run
from flows.promotion.gate import Decision

PROMOTED, CANARY, REFUSED, UNCHANGED = "promoted", "canary", "refused", "unchanged"


def record_judgement(layout: Layout, digest: str, decision: Decision, *, promoted: bool) -> Entry:
    """Record what the gate decided of a candidate, and what went into service.

    Args:
        layout: Of the shop.
        digest: Of the candidate.
        decision: The gate's.
        promoted: Whether it, or a baseline in its place, went into service.
    Returns:
        The gate's entry.
    Raises:
        TimelineError: it cannot be written.
    """
    timeline = Timeline(layout.timeline)
    run = current_run(timeline)
    state = PROMOTED if promoted else _state_of(decision)
    entry = timeline.add(
        "gate",
        digest[:16],
        state,
        f"{decision.reason.removesuffix('.')}.",
        cause=None if run is None else run.id,
        details={
            "flow": "" if run is None else run.subject,
            "metric": decision.metric,
            "candidate": decision.candidate,
            "champion": decision.champion,
        },
        key=None if run is None else f"gate/{run.details['flow_run_id']}",
    )
    if state == REFUSED:
        emit(layout.shop, "sommelier.gate.refused", entry.says, f"{entry.id}/{entry.at}", {"entry": entry.id})
    record_changes(layout, cause=entry.id)
    return entry


def _state_of(decision: Decision) -> str:
    """Of what did not go into service: it passed and is to answer some users, is there already, or is refused."""
    return CANARY if decision.canary else UNCHANGED if decision.served is not None else REFUSED
