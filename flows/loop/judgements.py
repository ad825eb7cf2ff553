"""What the gate said, on the time line, and the promotion that followed."""

from __future__ import annotations

from typing import Any

from core.layout import Layout
from core.logs.timeline import WAITING, Entry, Timeline
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
    says = f"{decision.reason.removesuffix('.')}."
    details: dict[str, Any] = {
        "flow": "" if run is None else run.subject,
        "metric": decision.metric,
        "candidate": decision.candidate,
        "champion": decision.champion,
    }
    if decision.approval is not None:
        details["approval"] = decision.approval.model_dump(mode="json")
    cause = None if run is None else run.id
    key = None if run is None else gate_key(run.details["flow_run_id"])
    entry = timeline.add("gate", digest[:16], state, says, cause=cause, details=details, key=key)
    if entry.state == WAITING != state:
        entry = timeline.settle(entry, state, says, details=details)
    if state == REFUSED:
        emit(layout.shop, "sommelier.gate.refused", entry.says, f"{entry.id}/{entry.at}", {"entry": entry.id})
    record_changes(layout, cause=entry.id)
    return entry


def record_waiting(layout: Layout, digest: str, decision: Decision, waits: str) -> Entry:
    """Record that what passed the gate waits for somebody's approval, and have them told.

    Args:
        digest: Of the candidate.
        waits: Until when, and how to answer, one clause.
    Raises:
        TimelineError: it cannot be written.
    """
    entry = record_judgement(layout, digest, decision, promoted=False)
    says = f"{entry.says.removesuffix('.')}; {waits}."
    emit(layout.shop, "sommelier.gate.waiting", says, f"{entry.id}/{entry.at}", {"entry": entry.id})
    return entry


def gate_key(flow_run_id: str) -> str:
    """The key of what the gate said in a run."""
    return f"gate/{flow_run_id}"


def _state_of(decision: Decision) -> str:
    """Of what did not go into service: it passed and is to answer some users or waits for approval, is there already or
    waits in another run, or is refused.
    """
    if decision.waits:
        return WAITING
    if decision.approval is not None and decision.approval.state == "asked already":
        return UNCHANGED
    return CANARY if decision.canary else UNCHANGED if decision.served is not None else REFUSED
