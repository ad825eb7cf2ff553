"""What the Prefect server knows of a shop's runs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

_TAG = "shop:"


def shop_tag(shop: str) -> str:
    """The tag that a shop's deployments and their runs carry in Prefect."""
    return f"{_TAG}{shop}"


def shop_of(tags: list[str]) -> str | None:
    """The shop that tags name; None where they name none."""
    return next((tag.removeprefix(_TAG) for tag in tags if tag.startswith(_TAG)), None)


def waiting_runs(shop: str, flows: Collection[str], without: str = "") -> list[str]:
    """Names of the runs of some flows of a shop that go on, or were to begin before now and have not.

    Args:
        flows: By name.
        without: The id of a run that does not count.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    left = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.SCHEDULED, StateType.PAUSED]
    chosen = filters.FlowRunFilter(
        tags=filters.FlowRunFilterTags(all_=[shop_tag(shop)]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=left)),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    named = filters.FlowFilter(name=filters.FlowFilterName(any_=[*flows]))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=chosen, flow_filter=named)
    return [run.name for run in found if str(run.id) != without]


def crashed_runs(shop: str, since: datetime) -> dict[str, datetime]:
    """Of each flow of a shop that crashed since a moment when it did so last, as the Prefect server has it.

    A server that marks a run as crashed, because nothing was heard of it any more, calls no hook.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    chosen = filters.FlowRunFilter(
        tags=filters.FlowRunFilterTags(all_=[shop_tag(shop)]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.CRASHED])),
        end_time=filters.FlowRunFilterEndTime(after_=since),
    )
    last: dict[UUID, datetime] = {}
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=chosen, sort=FlowRunSort.END_TIME_DESC):
            if run.end_time is not None:
                last.setdefault(run.flow_id, run.end_time)
        return {client.read_flow(flow_id).name: at for flow_id, at in last.items()}


def end_of(flow_run_id: str) -> tuple[str, str] | None:
    """How a run ended, by the name of its state in lower case and the message; None where it goes on.

    One that the server does not know any more has ended.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            state: Any = client.read_flow_run(UUID(flow_run_id)).state
        except ObjectNotFound:
            return "crashed", "The Prefect server does not know it any more."
    if state is None or not state.is_final():
        return None
    return str(state.type.value).lower(), ""
