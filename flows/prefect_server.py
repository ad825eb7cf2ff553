"""Talking to the Prefect server: clear what a killed platform left behind, start a run, follow its log."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flows.errors import PartFailed, RunFailed

_POLL_S = 0.5
_LOG_PAGE = 200


def clear_stale_runs() -> int:
    """Mark runs that a killed platform left behind as crashed, and cancel scheduled ones whose time has passed.

    Only to be called while nothing serves the deployments: then no run can really be in progress.

    Returns:
        How many runs were changed.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled, Crashed

    left = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.SCHEDULED]
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=left)))
    changed = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=chosen):
            if run.state_type == StateType.SCHEDULED:
                if run.expected_start_time and run.expected_start_time > datetime.now(UTC):
                    continue
                state: Any = Cancelled(message="Its time passed while the platform was down")
            else:
                state = Crashed(message="The platform stopped while this ran")
            client.set_flow_run_state(run.id, state=state, force=True)
            changed += 1
    return changed


def wait_for_deployment(name: str, timeout_s: float) -> None:
    """Wait until a deployment, `flow/deployment`, is registered.

    Raises:
        PartFailed: it was not in time.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    deadline = time.monotonic() + timeout_s
    with get_client(sync_client=True) as client:
        while True:
            try:
                client.read_deployment_by_name(name)
            except ObjectNotFound:
                if time.monotonic() > deadline:
                    raise PartFailed(
                        "Cannot serve the deployments",
                        got=f"deployment={name}",
                        expected=f"it to be registered within {timeout_s:.0f} s",
                        do="Read runner.log in the work folder's logs",
                    ) from None
                time.sleep(_POLL_S)
            else:
                return


def run_deployment(
    name: str, show: Callable[[str], None], on_wait: Callable[[], None], parameters: dict[str, Any] | None = None
) -> UUID:
    """Create a run of a deployment as the UI does, show its log as it grows, and wait for its end.

    Args:
        name: `flow/deployment`.
        show: Called with each log line.
        on_wait: Called between looks; raises when the wait has become pointless.
        parameters: Of the run; None takes the deployment's own.
    Raises:
        RunFailed: the run ended in another state than completed.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(name)
        run_id = client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id
        shown = 0
        while True:
            state = client.read_flow_run(run_id).state
            if state and state.is_final():
                # The run ships its log in batches: leave the last one time to arrive.
                time.sleep(2 * _POLL_S)
            shown = _show_log(client, run_id, shown, show)
            if state and state.is_final():
                break
            on_wait()
            time.sleep(_POLL_S)
    if not state.is_completed():
        raise RunFailed(
            f"The run of {name} ended",
            got=f"state={state.name}",
            expected="Completed",
            where=(state.message or "").strip(),
            do="Mend what the message says and start again; what was done is kept",
        )
    return run_id


def _show_log(client: Any, run_id: UUID, shown: int, show: Callable[[str], None]) -> int:
    """Show the log lines after the first `shown`; returns how many have been shown by now."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    while True:
        lines = client.read_logs(
            log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])),
            limit=_LOG_PAGE,
            offset=shown,
            sort=LogSort.TIMESTAMP_ASC,
        )
        for line in lines:
            message = _say(client, line)
            if message:
                show(f"{line.timestamp:%H:%M:%S} {message}")
        shown += len(lines)
        if len(lines) < _LOG_PAGE:
            return shown


def _say(client: Any, line: Any) -> str:
    """A log line as the user sees it: a task's end is worth a word only where its result was kept from before."""
    if not line.message.startswith("Finished in state"):
        return str(line.message)
    if line.task_run_id is None or "Cached" not in line.message:
        return ""
    return f"{client.read_task_run(line.task_run_id).name}: kept from before"
