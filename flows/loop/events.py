"""Events of the loop, for Prefect's automations: what happened to which shop.

`deployments/prefect.yaml` says which of them start a deployment.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx

logger = logging.getLogger(__name__)
_POST_TIMEOUT_S = 1.0
_MANY = 50  # of what Prefect gives at once
_EXECUTED, _FAILED = "prefect.automation.action.executed", "prefect.automation.action.failed"
EventName = Literal[
    "sommelier.alarm.raised",
    "sommelier.alarm.cleared",
    "sommelier.wanted.pipeline",
    "sommelier.wanted.fine-tune",
    "sommelier.wanted.refresh-features",
    "sommelier.gate.refused",
    "sommelier.gate.waiting",
    "sommelier.promoted",
    "sommelier.rolled-back",
    "sommelier.canary.started",
    "sommelier.canary.grown",
    "sommelier.canary.withdrawn",
]


def shop_resource(shop: str) -> str:
    """What Prefect knows a shop by in events."""
    return f"sommelier.shop.{shop}"


# lost: the server does not know it. taken: it does. failed: so did something that was to be done for it. told: all was.
Fate = Literal["lost", "taken", "failed", "told"]


def emit(shop: str, name: EventName, says: str, key: str, payload: Mapping[str, Any] | None = None) -> bool:
    """Send an event to the Prefect server of this process; outside of a run, only if one answers at once.

    Args:
        shop: That it is about.
        name: What happened.
        says: One sentence, for whoever is told.
        key: Tells it from others of the name: an event of one key that is sent twice counts once.
        payload: More of it.
    Returns:
        Whether it was sent; within a run it is on its way.
    """
    event: dict[str, Any] = {
        "event": name,
        "resource": {"prefect.resource.id": shop_resource(shop), "prefect.resource.name": shop},
        "payload": {"says": says, "shop": shop, **(payload or {})},
        "id": id_of(shop, name, key),
    }
    if is_in_run():
        from prefect.events import emit_event

        emit_event(**event)
        return True
    return _post({**event, "id": str(event["id"]), "occurred": datetime.now(UTC).isoformat()})


def id_of(shop: str, name: EventName, key: str) -> UUID:
    """The id of an event, see `emit`."""
    return uuid5(NAMESPACE_URL, f"{shop_resource(shop)}/{name}/{key}")


def find_fate(event_id: UUID) -> Fate:
    """What became of an event on the Prefect server, which keeps that for some days.

    Raises:
        HTTPError: the server does not answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.events.filters import EventFilter, EventIDFilter, EventNameFilter, EventRelatedFilter

    outcomes = EventFilter(
        event=EventNameFilter(name=[_EXECUTED, _FAILED]), related=EventRelatedFilter(id=[f"prefect.event.{event_id}"])
    )
    with get_client(sync_client=True) as client:
        ended = {one.event for one in client.read_events(outcomes, limit=_MANY).events}
        if ended:
            return "failed" if _FAILED in ended else "told"
        return "taken" if client.read_events(EventFilter(id=EventIDFilter(id=[event_id])), limit=1).events else "lost"


def is_in_run() -> bool:
    """Whether Prefect runs this; a command that has not loaded it, which takes seconds, need not ask."""
    if "prefect" not in sys.modules:
        return False
    from prefect.runtime import flow_run

    return bool(flow_run.id)


def _post(event: dict[str, Any]) -> bool:
    """Send an event from a command, which does not wait for a server that is down; whether it was sent."""
    if not (address := os.environ.get("PREFECT_API_URL")):
        return False
    try:
        httpx.post(f"{address}/events", json=[event], timeout=_POST_TIMEOUT_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        logger.info("The Prefect server was not told of %s: %s", event["event"], error or type(error).__name__)
        return False
    return True
