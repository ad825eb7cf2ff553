"""Answers to runs that wait for approval, by Prefect's way to resume a run; and what happens where nobody answers."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from core.layout import Layout
from core.logs.timeline import WAITING, Timeline
from flows.errors import NothingWaits
from flows.loop.judgements import REFUSED, gate_key
from flows.loop.prefect_runs import end_of
from flows.promotion.approvals import Waiting, drop_waiting, list_waiting, now
from flows.promotion.gate import Approval


def answer(waiting: Waiting, *, approve: bool, comment: str = "", by: str = "") -> None:
    """Have a run go on with somebody's answer; a process of its deployment takes it up.

    Raises:
        NothingWaits: the run does not wait any more.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    given = {"approve": approve, "comment": comment, "by": by}
    with get_client(sync_client=True) as client:
        try:
            answered = client.resume_flow_run(UUID(waiting.flow_run_id), run_input=given)
        except ObjectNotFound:
            answered = None
    if answered is not None and answered.status.value == "ACCEPT":
        return
    why = "the Prefect server does not know it" if answered is None else getattr(answered.details, "reason", "")
    raise NothingWaits(
        "Cannot answer for a run",
        got=f"run={waiting.run}, {why}",
        expected="a run that waits for approval",
        do="See what became of it: sommelier timeline --kind gate",
    )


def end_late_approvals(layout: Layout, moment: datetime | None = None) -> list[Waiting]:
    """Have runs go on that nobody answered in time: they end, and what is in service stays. What was cancelled, or is
    gone from the server, waits no more.

    Args:
        moment: Now, by default.
    Returns:
        Those that wait no more.
    Raises:
        TimelineError: it cannot be written.
    """
    ended = []
    for waiting in list_waiting(layout):
        if (end := end_of(waiting.flow_run_id)) is not None:
            _close(layout, waiting, end[0])
        elif waiting.is_late(moment or now()) and _is_suspended(waiting):
            answer(waiting, approve=False)
        else:
            continue
        ended.append(waiting)
    return ended


def _close(layout: Layout, waiting: Waiting, state: str) -> None:
    """A run ended without an answer, and no process of it is there that could say so."""
    timeline = Timeline(layout.timeline)
    entry = timeline.keyed(gate_key(waiting.flow_run_id))
    if entry is not None and entry.state == WAITING:
        late = waiting.is_late(now())
        told = Approval(state="late").describe() if late else f"its run ended before anybody approved it: {state}"
        timeline.settle(entry, REFUSED, f"{waiting.decision.reason.removesuffix('.')}; {told}.")
    drop_waiting(layout, waiting.flow_run_id)


def _is_suspended(waiting: Waiting) -> bool:
    """Whether it waits still, and was not answered a moment ago."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(waiting.flow_run_id)).state
    return state is not None and state.is_paused()
