"""Runs of the shop that a Prefect server knows, whatever database it has: their parameters may name a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.erasure.person import Person
from flows.loop.prefect_runs import shop_of

_TAG = "sommelier"  # every deployment of the topology has it, and so has each of its runs
_DATABASE = "prefect.db"
_PAGE = 200


def clear_runs(shop: str, person: Person) -> int:
    """Take the id out of the parameters of the shop's runs; how many had it, 0 where no server answers.

    A run of `forget` that waits with it goes without a user: the person is being removed.
    """
    with _answering() as client:
        named = list(_naming(client, shop, person))
        for run in named:
            body = {"parameters": _without(run.parameters, person)}
            client._client.patch(f"/flow_runs/{run.id}", json=body).raise_for_status()
    return len(named)


def count_runs(shop: str, person: Person) -> int:
    """In how many of the shop's runs the parameters name the person; 0 where no server answers."""
    with _answering() as client:
        return sum(1 for _ in _naming(client, shop, person))


def server_answers() -> bool:
    """Whether this process has a Prefect server that answers."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():  # a client would start a server of its own
        return False
    with get_client(sync_client=True) as client:
        return client.api_healthcheck() is None


def is_out_of_reach(prefect: Path) -> bool:
    """Whether there were runs, and the server that knows them does not answer and has its database elsewhere.

    Args:
        prefect: Prefect's folder below the work folder.
    """
    from prefect.settings import PREFECT_API_URL

    if (prefect / _DATABASE).exists() or not PREFECT_API_URL.value():
        return False
    return any((prefect / "results").glob("*")) and not server_answers()


@contextmanager
def _answering() -> Iterator[Any]:
    from prefect.client.orchestration import get_client

    if not server_answers():
        yield None
        return
    with get_client(sync_client=True) as client:
        yield client


def _naming(client: Any, shop: str, person: Person) -> Iterator[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
    from prefect.client.schemas.sorting import FlowRunSort

    if client is None:
        return
    chosen, offset = FlowRunFilter(tags=FlowRunFilterTags(all_=[_TAG])), 0
    while page := client.read_flow_runs(flow_run_filter=chosen, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=offset):
        yield from (run for run in page if shop_of(run.tags) in (shop, None) and person.in_json(run.parameters))
        offset += len(page)


def _without(parameters: dict[str, Any], person: Person) -> Any:
    params = parameters.get("params")
    if isinstance(params, dict) and person.is_value(params.get("user")):
        parameters = {**parameters, "params": {**params, "user": ""}}
    return person.redact_json(parameters)
