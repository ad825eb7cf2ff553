"""Answers to runs that wait for approval, by Prefect's way to resume a run; and what happens where nobody answers."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

from httpx import HTTPError

from core.layout import Layout
from core.logs.timeline import WAITING, Timeline
from core.promotions import read_standing
from flows.errors import NothingWaits
from flows.loop.judgements import APPROVAL, CANARY, PROMOTED, REFUSED, UNCHANGED, gate_key, is_tried
from flows.loop.notices import untold
from flows.loop.prefect_runs import end_of
from flows.promotion.approvals import Waiting, drop_waiting, list_waiting, now
from flows.promotion.gate import Approval

logger = logging.getLogger(__name__)


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
    gone from the server, waits no more. One that cannot be asked about now is left for the next look.

    Args:
        moment: Now, by default.
    Returns:
        Those that wait no more.
    Raises:
        TimelineError: it cannot be written.
    """
    ended = []
    for waiting in list_waiting(layout):
        try:
            if _end_late(layout, waiting, moment or now()):
                ended.append(waiting)
        except (NothingWaits, HTTPError) as error:
            logger.warning("Whether %s still waits for approval is asked again: %s", waiting.run, error)
    return ended


def _end_late(layout: Layout, waiting: Waiting, moment: datetime) -> bool:
    """End a run that was not answered in time; whether it waits no more."""
    if (end := end_of(waiting.flow_run_id)) is not None:
        end_waiting(layout, waiting, end[0])
        return True
    if waiting.is_late(moment) and _is_suspended(waiting):
        answer(waiting, approve=False)
        return True
    return False


def end_waiting(layout: Layout, waiting: Waiting, state: str) -> None:
    """Say of a run that waited how it ended, where it could not do what it waited for.

    Args:
        state: As which it ended, by Prefect's name.
    Raises:
        TimelineError: it cannot be written.
        PromotionRecordError, ExperimentError: the record of what is in service, or of experiments, cannot be read.
    """
    timeline = Timeline(layout.timeline)
    entry = timeline.keyed(gate_key(waiting.flow_run_id))
    # It is a canary for the time line before one begins, by what the gate said.
    is_open = entry is not None and (
        entry.state == WAITING or (entry.state == CANARY and not is_tried(layout, entry, waiting.digest))
    )
    if entry is not None and is_open:
        after, told = _end_of(layout, waiting, state, entry.details.get(APPROVAL))
        says = f"{waiting.decision.reason.removesuffix('.')}; {told}."
        notice = untold("sommelier.gate.refused" if after == REFUSED else None)
        timeline.settle(entry, after, says, details=notice, only=[WAITING, CANARY])
    drop_waiting(layout, waiting.flow_run_id)


def _end_of(layout: Layout, waiting: Waiting, state: str, answer: object) -> tuple[str, str]:
    """How it stands with what waited, and why, one clause."""
    if answer is None:
        late = waiting.is_late(now())
        told = Approval(state="late").describe() if late else f"its run ended before anybody approved it: {state}"
        return REFUSED, told
    given = Approval.model_validate(answer)
    if given.state != "approved":
        return REFUSED, given.describe()
    served = read_standing(layout.model_name).in_service
    if served is not None and served.digest == waiting.digest:
        return PROMOTED, f"{given.describe()}, and its run ended after it went into service: {state}"
    return UNCHANGED, f"{given.describe()}, but its run ended before that was done: {state}. Run the flow again"


def _is_suspended(waiting: Waiting) -> bool:
    """Whether it waits still, and was not answered a moment ago."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(waiting.flow_run_id)).state
    return state is not None and state.is_paused()
