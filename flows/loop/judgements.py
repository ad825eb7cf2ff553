"""What the gate said, on the time line, and the promotion that followed."""

from __future__ import annotations

from typing import Any

from core.experiments import read_experiments
from core.layout import Layout
from core.logs.timeline import PAGE, WAITING, Entry, Timeline
from flows.loop.changes import record_changes
from flows.loop.notices import untold
from flows.loop.runs import FAILED, current_run
from flows.promotion.approvals import list_waiting
from flows.promotion.gate import Approval, Decision

PROMOTED, CANARY, REFUSED, UNCHANGED = "promoted", "canary", "refused", "unchanged"
APPROVAL = "approval"  # in the details
_LOST = "lost"  # in the details: no canary began, as the run had ended
_CUT_SHORT = (FAILED, "crashed", "cancelled")


def record_judgement(
    layout: Layout, digest: str, decision: Decision, *, promoted: bool, waits: str = "", page: str = ""
) -> Entry:
    """Record what the gate decided of a candidate, and what went into service; and have told what it refused, and what
    waits for somebody's approval.

    Args:
        layout: Of the shop.
        digest: Of the candidate.
        decision: The gate's.
        promoted: Whether it, or a baseline in its place, went into service.
        waits: Of what waits: until when, and how to answer, one clause.
        page: The evaluation's, below the shop's reports; empty where there is none.
    Returns:
        The gate's entry.
    Raises:
        TimelineError: it cannot be written.
    """
    timeline = Timeline(layout.timeline)
    run = current_run(timeline)
    state = PROMOTED if promoted else _state_of(decision)
    says = f"{decision.reason.removesuffix('.')}.{_clicks(decision)}"
    details: dict[str, Any] = {
        "flow": "" if run is None else run.subject,
        "metric": decision.metric,
        "candidate": decision.candidate,
        "champion": decision.champion,
        **({PAGE: page} if page else {}),
    }
    if decision.off_policy is not None:
        details["off_policy"] = decision.off_policy.model_dump(mode="json")
    if state == WAITING:
        details |= untold("sommelier.gate.waiting", f"{says.removesuffix('.')}; {waits}.")
    else:
        details |= untold("sommelier.gate.refused" if state == REFUSED else None)
    if decision.approval is not None:
        details[APPROVAL] = decision.approval.model_dump(mode="json")
    cause = None if run is None else run.id
    key = None if run is None else gate_key(run.details["flow_run_id"])
    entry = timeline.add("gate", digest[:16], state, says, cause=cause, details=details, key=key)
    if state != WAITING:
        # Prefect tries a run again by the same id: it had ended, and goes on.
        is_again = bool(entry.details.get(_LOST))
        open_as = [WAITING, UNCHANGED] if is_again else [WAITING]
        entry = timeline.settle(
            entry, state, says, details={**details, **({_LOST: False} if is_again else {})}, only=open_as
        )
    record_changes(layout, cause=entry.id)
    return entry


def record_answer(layout: Layout, flow_run_id: str, approval: Approval) -> None:
    """Keep what somebody said of what waits, before the run goes on with it: it may end on its way.

    Raises:
        TimelineError: it cannot be written.
    """
    timeline = Timeline(layout.timeline)
    entry = timeline.keyed(gate_key(flow_run_id))
    if entry is not None:
        timeline.note(entry, {APPROVAL: approval.model_dump(mode="json")})


def settle_lost_canaries(layout: Layout) -> list[Entry]:
    """Say of runs that ended between the gate's word and the canary that it wants that none began.

    Those that were approved are told of by `end_late_approvals`, which knows how the run ended.

    Returns:
        The gate's entries that were open until now.
    Raises:
        TimelineError: it cannot be read or written.
        ExperimentError: the record of experiments cannot be read.
    """
    timeline = Timeline(layout.timeline)
    waiting = {gate_key(one.flow_run_id) for one in list_waiting(layout)}
    tried = {one.cause for one in timeline.read(["canary"])}
    settled = []
    for gate in timeline.read(["gate"]):
        run = timeline.find(gate.cause) if gate.state == CANARY and gate.cause and gate.id not in tried else None
        if run is None or run.state not in _CUT_SHORT or gate_key(run.details["flow_run_id"]) in waiting:
            continue
        if not is_tried(layout, gate):
            says = (
                f"{gate.says.removesuffix('.')}; its run ended before a canary began: {run.state}. Run the flow again."
            )
            settled.append(timeline.settle(gate, UNCHANGED, says, details={_LOST: True}, only=[CANARY]))
    return settled


def is_tried(layout: Layout, gate: Entry, digest: str = "") -> bool:
    """Whether the canary began that the gate wants, or one of the same bundle goes on.

    Args:
        gate: The gate's entry.
        digest: Of the bundle; empty where only the entry tells, by the candidate that was judged.
    Raises:
        ExperimentError: the record of experiments cannot be read.
    """
    for one in read_experiments(layout.model_name).experiments:
        place = one.variants[0].bundle
        is_same = place.digest == digest or any(
            known.startswith(gate.subject) for known in (place.digest, place.judged)
        )
        if one.followed and (one.cause == gate.id or (one.runs and is_same)):
            return True
    return False


def _clicks(decision: Decision) -> str:
    """What lists that explored say of it, a sentence; empty where they say nothing, or the reason has it."""
    found = decision.off_policy
    said = "" if found is None else found.describe()
    return f" Clicks: {said}." if said and said not in decision.reason else ""


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
