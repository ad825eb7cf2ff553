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
