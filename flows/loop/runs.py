"""Runs of flows on the time line: when one began and why, and how it ended, however that was.

What a process can say of itself it says (`recorded`). Of one that was killed or cancelled the runner says it
(`record_end`), and of what was left while no runner ran, the next look or start of the platform (`settle_lost_runs`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from prefect.exceptions import Pause
from prefect.runtime import flow_run as runtime

from core.errors import SommelierError
from core.layout import Layout
from core.logs.timeline import RUNNING, WAITING, Entry, Timeline, TimelineError
from flows.environment import current_settings
from flows.loop.prefect_runs import end_of

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)
WANTED, STARTED, LOST = "wanted", "started", "lost"  # of a decision that wants a run
FAILED = "failed"  # of a run
_GOES_ON = (RUNNING, WAITING)
_FLOW_RUN = "flow_run_id"
WAITED_S = "waited_s"
_FREQUENT = ("refresh-features", "monitor", "follow-canary")


def recorded(flow: Callable[P, R]) -> Callable[P, R]:
    """Put a run of a flow on the time line; for the function below Prefect's decorator, and below `pruned`.

    Its parameters name the shop and the decision that it follows from. Of flows that run every hour or day by
    themselves, only what follows from a decision stands there, and what fails. What runs without Prefect is not.
    """

    @wraps(flow)
    def run(*args: P.args, **named: P.kwargs) -> R:
        params: Any = next(iter((*args, *named.values())))
        entry = _begin(params)
        try:
            result = flow(*args, **named)
        except Pause:  # it goes on in another process
            if entry is not None:
                _settle(timeline_of(params.shop), entry, WAITING, "for somebody's approval")
            raise
        except BaseException as error:
            _fail(params, entry, _told(error))
            raise
        if entry is not None:
            _settle(timeline_of(params.shop), entry, "completed", "")
        return result

    # Prefect checks the parameters by it, and would look for the names of types in this module.
    run.__signature__ = signature(flow, eval_str=True)  # type: ignore[attr-defined]
    return run


def record_end(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's hook: a run was killed or cancelled; called in the runner, beside the process that is gone."""
    shop = shop_of_run(flow_run)
    ended = str(state.type.value).lower().replace("cancelling", "cancelled")
    timeline = timeline_of(shop)
    try:
        entry = timeline.keyed(_key(str(flow_run.id)))
        if entry is None:
            _add(timeline, flow.name, ended, f"{flow.name} was stopped on its way.", str(flow_run.id), flow_run.name)
        else:
            timeline.settle(entry, ended, f"{flow.name} was stopped on its way.", only=_GOES_ON)
    except TimelineError as error:
        logger.warning("%s", error)


def shop_of_run(flow_run: Any) -> str:
    """The shop that a run's parameters name."""
    return str((flow_run.parameters or {}).get("params", {}).get("shop") or current_settings().shop)


def current_run(timeline: Timeline) -> Entry | None:
    """The entry of the run that this process does; None where it is not recorded."""
    return timeline.keyed(_key(str(runtime.id))) if runtime.id else None


def settle_lost_runs(timeline: Timeline) -> list[Entry]:
    """Say how runs ended whose process and runner were both killed, as the Prefect server has it.

    Returns:
        The entries of those that are known to have ended now.
    """
    settled = []
    for entry in timeline.lasting("run"):
        if entry.details.get(_FLOW_RUN) == str(runtime.id):
            continue
        ended = end_of(entry.details[_FLOW_RUN])
        if ended is not None:
            state, told = ended
            says = told or f"{entry.subject} ended, as {state}."
            settled.append(timeline.settle(entry, state, says, only=_GOES_ON))
    return settled


def timeline_of(shop: str) -> Timeline:
    """The time line of a shop of this process's work folder."""
    return Timeline(Layout(current_settings().work_dir, shop).timeline)


def _begin(params: Any) -> Entry | None:
    """Record that a run begins, and that the decision which it follows from has led to it."""
    number = getattr(params, "decision", 0)
    if not runtime.id or (runtime.flow_name in _FREQUENT and not number):
        return None
    timeline, name = timeline_of(params.shop), str(runtime.flow_name)
    try:
        decision = timeline.find(number) if number else None
        why = f"after decision {number}" if decision else "by hand or by schedule"
        cause = decision.id if decision else None
        told = f"{name} goes on, started {why}."
        entry = _add(timeline, name, RUNNING, told, str(runtime.id), str(runtime.name), cause)
        if decision is not None:
            timeline.settle(decision, STARTED, only=[WANTED, LOST])
        if entry.state == RUNNING:
            return entry
        # Prefect tries a run again by the same id, and goes on with one that waited.
        return timeline.settle(entry, RUNNING, told, details=_waited(entry))
    except TimelineError as error:
        logger.warning("%s", error)  # what the flow is for matters more
        return None


def _waited(entry: Entry) -> dict[str, float]:
    """How long a run has waited for approval, seconds, which is no time that it took; with what it waited before."""
    if entry.state != WAITING:
        return {}
    since = datetime.now(UTC) - datetime.fromisoformat(entry.until)
    return {WAITED_S: entry.details.get(WAITED_S, 0.0) + since.total_seconds()}


def _fail(params: Any, entry: Entry | None, told: str) -> None:
    if not runtime.id:
        return
    timeline, name = timeline_of(params.shop), str(runtime.flow_name)
    if entry is not None:
        _settle(timeline, entry, FAILED, told)
        return
    try:
        before, says = timeline.newest("run", name), _says(name, FAILED, told)
        if before is not None and (before.state, before.says) == (FAILED, says):
            timeline.repeat(before)
        else:
            _add(timeline, name, FAILED, says, str(runtime.id), str(runtime.name))
    except TimelineError as error:
        logger.warning("%s", error)


def _settle(timeline: Timeline, entry: Entry, state: str, told: str) -> None:
    try:
        timeline.settle(entry, state, _says(entry.subject, state, told))
    except TimelineError as error:
        logger.warning("%s", error)


def _add(
    timeline: Timeline, flow: str, state: str, says: str, flow_run_id: str, name: str, cause: int | None = None
) -> Entry:
    details = {_FLOW_RUN: flow_run_id, "run": name}
    return timeline.add("run", flow, state, says, cause=cause, details=details, key=_key(flow_run_id))


def _says(flow: str, state: str, told: str) -> str:
    return f"{flow} {state}: {told}" if told else f"{flow} {state}."


def _told(error: BaseException) -> str:
    """What an error says without the value that it is about, which may name a person."""
    if isinstance(error, SommelierError):
        return f"{error.failed}. {error.do}."
    return f"{type(error).__name__}."


def _key(flow_run_id: str) -> str:
    return f"run/{flow_run_id}"
