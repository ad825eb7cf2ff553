"""Talking to the Prefect server: clear what a killed platform left behind, start a run, follow its log."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import httpx

from core.layout import Layout
from core.settings.tree import Settings
from flows.errors import PartFailed, PortTaken, RunFailed
from flows.loop.prefect_runs import shop_of, shop_tag
from flows.platform.run_log import describe_end, read_lines
from flows.platform.served_shops import is_served
from flows.reporting.gauges import publish_run

_POLL_S = 0.5
_ANSWERED = "Resuming"  # the state of a run that waited for approval, once it is answered; it is a scheduled one
_PAGE = 200
_PROBE_TIMEOUT_S = 5.0
FOLLOWED = "followed"  # the tag of a run whose end a command waits for
_TAG = "sommelier"  # every deployment of the topology has it


def server_is_up(settings: Settings) -> bool:
    """Whether a Prefect server answers: on this machine that of this work folder, elsewhere whichever was named.

    Raises:
        PortTaken: one of another work folder does, on this machine.
    """
    where = settings.platform
    url = f"{where.url_of('prefect')}/api/admin/settings"
    try:
        answer = httpx.get(url, timeout=_PROBE_TIMEOUT_S, trust_env=False)
        home = answer.json().get("home") if answer.is_success else None
    except (httpx.TransportError, ValueError, AttributeError):
        return False
    if home is None:
        return False
    if not is_here(where.host_of("prefect")):
        return True  # its home is a path of another machine, or of another container
    own = settings.work_dir.absolute() / "prefect"
    if home == str(own):
        return True
    raise PortTaken(
        "Cannot use the Prefect server",
        got=f"platform.prefect_port={where.prefect_port}, where the Prefect server of {home} answers",
        expected=f"a free port, or the server of {own}",
        do="Give its work_dir, or another port: --set platform.prefect_port=<another>",
    )


def is_here(host: str) -> bool:
    """Whether a host is this machine, or this container: it has an address that one can listen on."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(_can_listen(family, address) for family, _, _, _, address in found)


def _can_listen(family: int, address: Any) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def clear_stale_runs(layout: Layout) -> int:
    """Mark a shop's runs that a killed platform left behind as crashed, and cancel those of schedules whose time has
    passed. What somebody asked for, or answered, and what waits for a process to go on, still do. Of those that crashed
    Prometheus knows.

    Runs that name no shop are from before deployments named theirs, and count too. Those of a work pool are left alone.
    Only to be called while nothing serves the shop: then no run of it can really be in progress.

    Returns:
        How many runs were changed.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled, Crashed

    with get_client(sync_client=True) as client:
        stale = [
            *_unfinished(client, shop_tag(layout.shop)),
            *(run for run in _unfinished(client, _TAG) if _is_old(run)),
        ]
        stale = [run for run in stale if run.work_pool_name is None and not _waits(run)]
        for run in stale:
            if run.state_type == StateType.SCHEDULED:
                state: Any = Cancelled(message="Its time passed while the platform was down")
            else:
                state = Crashed(message="The platform stopped while this ran")
                # The server calls no hooks, and the runner that would have is gone too.
                publish_run(layout, client.read_flow(run.flow_id).name, "failed")
            client.set_flow_run_state(run.id, state=state, force=True)
    return len(stale)


def pause_unserved(settings: Settings) -> list[str]:
    """Pause the deployments of shops that nobody serves, so that their schedules pile up no late runs.

    Serving a shop starts its schedules again. Deployments on a work pool are left alone: workers serve them; and so are
    all of a server elsewhere, where shops of other machines may be.

    Returns:
        The names of the deployments that were paused.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    if not is_here(settings.platform.host_of("prefect")):
        return []
    chosen = DeploymentFilter(tags=DeploymentFilterTags(all_=[_TAG]))
    paused = []
    with get_client(sync_client=True) as client:
        found_all = pages(
            lambda limit, offset: client.read_deployments(deployment_filter=chosen, limit=limit, offset=offset)
        )
        for found in list(found_all):
            shop = shop_of(found.tags)
            if found.paused or found.work_pool_name or (shop and is_served(Layout(settings.work_dir, shop).root)):
                continue
            client.pause_deployment(found.id)
            paused.append(found.name)
    return paused


def wait_for_deployments(names: Sequence[str], revision: str, timeout_s: float, on_wait: Callable[[], None]) -> None:
    """Wait until deployments, `flow/deployment` each, are registered in a revision: an older one is not it.

    Args:
        names: Of the deployments.
        revision: Their version.
        timeout_s: For all of them, seconds.
        on_wait: Called between looks; raises when the wait has become pointless.
    Raises:
        PartFailed: one was not in time.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    deadline = time.monotonic() + timeout_s
    with _server_errors(on_wait), get_client(sync_client=True) as client:
        for name in names:
            while True:
                try:
                    found = client.read_deployment_by_name(name).version
                except ObjectNotFound:
                    found = None
                if found == revision:
                    break
                on_wait()
                if time.monotonic() > deadline:
                    raise PartFailed(
                        "Cannot serve the deployments",
                        got=f"deployment={name}, version={found}",
                        expected=f"version {revision} within {timeout_s:.0f} s",
                        do="Read runner.log in the work folder's logs",
                    )
                time.sleep(_POLL_S)


def read_parameters(name: str) -> dict[str, Any]:
    """What the runs of a deployment, `flow/deployment`, take where nothing else is said."""
    from prefect.client.orchestration import get_client

    with _server_errors(lambda: None), get_client(sync_client=True) as client:
        return dict(client.read_deployment_by_name(name).parameters)


class FollowedRun(NamedTuple):
    """A run that was followed to its end, or until it waits for somebody."""

    id: UUID
    name: str
    waits: bool


def run_deployment(
    name: str, show: Callable[[str], None], on_wait: Callable[[], None], parameters: dict[str, Any] | None = None
) -> FollowedRun:
    """Create a run of a deployment as the UI does, show its log as it grows, and wait for its end, or until it waits
    for somebody's approval.

    Args:
        name: `flow/deployment`.
        show: Called with each log line.
        on_wait: Called between looks; raises when the wait has become pointless.
        parameters: Of the run; None takes the deployment's own.
    Raises:
        RunFailed: the run ended in another state than completed.
        PartFailed: the server ended.
    """
    from prefect.client.orchestration import get_client

    with _server_errors(on_wait), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(name)
        created = client.create_flow_run_from_deployment(deployment.id, parameters=parameters, tags=[FOLLOWED])
        run_id = created.id
        shown = 0
        while True:
            state = client.read_flow_run(run_id).state
            if state and (state.is_final() or state.is_paused()):
                # The run ships its log in batches: leave the last one time to arrive.
                time.sleep(2 * _POLL_S)
            lines, shown = read_lines(client, run_id, shown)
            for line in lines:
                show(line)
            if state and (state.is_final() or state.is_paused()):
                break
            on_wait()
            time.sleep(_POLL_S)
    if not (state.is_completed() or state.is_paused()):
        raise RunFailed(
            f"The run of {name} ended",
            got=f"state={state.name}",
            expected="Completed",
            where=describe_end(state.message),
            do="Do what the message says and start again; what was done is kept, runner.log has the traceback",
        )
    return FollowedRun(UUID(str(run_id)), created.name, state.is_paused())


def _unfinished(client: Any, tag: str) -> list[Any]:
    """Runs with a tag that were to start before now and have not ended."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    left = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.SCHEDULED]
    chosen = filters.FlowRunFilter(
        tags=filters.FlowRunFilterTags(all_=[tag]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=left)),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    # Read to the end before any is changed: what is changed leaves the filter, and the pages would shift.
    return list(pages(lambda limit, offset: client.read_flow_runs(flow_run_filter=chosen, limit=limit, offset=offset)))


def _waits(run: Any) -> bool:
    """Whether somebody asked for a run, or answered it, that no process has begun or gone on with yet.

    What a command asked for goes with the command, which is given again; but nobody who is to be forgotten.
    """
    if run.state_name == _ANSWERED:
        return True
    params = run.parameters.get("params")
    names_somebody = isinstance(params, dict) and bool(params.get("user"))
    is_asked_for = not run.auto_scheduled and (FOLLOWED not in run.tags or names_somebody)
    return run.state_type == "SCHEDULED" and is_asked_for


def _is_old(run: Any) -> bool:
    return shop_of(run.tags) is None


def pages(read: Callable[[int, int], list[Any]]) -> Iterator[Any]:
    """Every row of a query that answers by pages."""
    offset = 0
    while page := read(_PAGE, offset):
        yield from page
        offset += len(page)


@contextmanager
def _server_errors(on_wait: Callable[[], None]) -> Iterator[None]:
    """Say in one sentence that the server is gone, or let `on_wait` say which part is."""
    try:
        yield
    except httpx.TransportError as error:
        on_wait()
        raise PartFailed(
            "Lost the Prefect server",
            got=f"error={error or type(error).__name__}",
            expected="it to answer",
            do="Read prefect.log in the work folder's logs and start again; what was done is kept",
        ) from error
