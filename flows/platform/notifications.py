"""Who is told what of a shop: automations of Prefect that send notifications by blocks of it, which settings name.

A block (Slack Webhook, Custom Webhook, Sendgrid Email and others) is made in the Prefect UI or by its API and holds its
secret; settings name it, and nothing more. Prefect's server sends, also where nothing else of the platform runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx

from core.errors import NotRunning, SettingsError
from core.settings.loop import NotificationSettings
from core.settings.tree import Settings
from flows.loop.events import EventName, shop_resource
from flows.loop.prefect_runs import shop_tag
from flows.platform.prefect_server import pages

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events import AutomationCore, EventTrigger

_PROBE_TIMEOUT_S = 5.0
_ALARMS: set[EventName] = {"sommelier.alarm.raised", "sommelier.alarm.cleared"}
_SERVED: set[EventName] = {
    "sommelier.gate.refused",
    "sommelier.gate.waiting",
    "sommelier.promoted",
    "sommelier.rolled-back",
    "sommelier.canary.started",
    "sommelier.canary.grown",
    "sommelier.canary.withdrawn",
}
_ENDED = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut", "Late")}
_SAYS = "{{ event.payload.says }}"
_RUN_SAYS = "{{ flow.name }}, run {{ flow_run.name }}: {{ flow_run.state.name }}. {{ flow_run.state.message or '' }}"


def apply_notifications(shop: str, settings: NotificationSettings) -> list[str]:
    """Have Prefect's server tell what happens to a shop by the blocks of the settings, and by no other any more.

    Args:
        shop: Its name.
        settings: Which blocks.
    Returns:
        The names of the automations.
    Raises:
        SettingsError: a block is not there.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        wanted = {one.name: one for one in _wanted(client, shop, settings)}
        every = list(pages(lambda limit, offset: client.read_automations(limit=limit, offset=offset)))
        there = {one.name: one for one in every if one.name.startswith(_prefix(shop))}
        for name, automation in wanted.items():
            if name in there:
                client.update_automation(there[name].id, automation)
            else:
                client.create_automation(automation)
        for name in there.keys() - wanted.keys():
            client.delete_automation(there[name].id)
    return list(wanted)


def apply_on_server(settings: Settings) -> list[str]:
    """The same on the server of PREFECT_API_URL, or else on that of the settings.

    Raises:
        SettingsError: a block is not there.
        NotRunning: the server does not answer.
    """
    with on_server(settings, "Cannot apply the automations"):
        return apply_notifications(settings.shop, settings.loop.notifications)


@contextmanager
def on_server(settings: Settings, failed: str) -> Iterator[None]:
    """Within the block Prefect's clients ask the server of PREFECT_API_URL, or else that of the settings.

    Args:
        failed: What cannot be done where none answers, for the error.
    Raises:
        NotRunning: the server does not answer.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    address = os.environ.get("PREFECT_API_URL") or f"{settings.platform.url_of('prefect')}/api"
    try:
        httpx.get(f"{address}/health", timeout=_PROBE_TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:
        raise NotRunning(
            failed,
            got=f"server={address}, {error or type(error).__name__}",
            expected="a Prefect server that answers",
            do="Start the platform: sommelier up; or name a server in PREFECT_API_URL",
        ) from error
    with temporary_settings({PREFECT_API_URL: address}):
        yield


def _prefix(shop: str) -> str:
    return f"sommelier {shop}: "


def _wanted(client: SyncPrefectClient, shop: str, settings: NotificationSettings) -> Iterator[AutomationCore]:
    from prefect.events import AutomationCore
    from prefect.events.actions import SendNotification

    for block in settings.blocks:
        number = _block_id(client, block)
        for topic, trigger, body in _topics(shop, settings):
            yield AutomationCore(
                name=f"{_prefix(shop)}{topic} to {block}",
                description="Applied by `sommelier up` and `sommelier automations`, as loop.notifications says.",
                trigger=trigger,
                actions=[SendNotification(block_document_id=number, subject=f"{shop}: {topic}", body=body)],
            )


def _topics(shop: str, settings: NotificationSettings) -> Iterator[tuple[str, EventTrigger, str]]:
    """What is told: its name, what triggers it, what is said."""
    from prefect.events import EventTrigger

    of_shop: dict[str, Any] = {"match": {"prefect.resource.id": shop_resource(shop)}, "posture": "Reactive"}
    yield "alarms", EventTrigger(expect={*_ALARMS}, **of_shop), _SAYS
    yield "what is in service", EventTrigger(expect={*_SERVED}, **of_shop), _SAYS
    runs = EventTrigger(
        expect=_ENDED,
        match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{shop_tag(shop)}"},
        posture="Reactive",
        # A deployment that fails every hour is told of once in this time.
        for_each={"related:deployment:prefect.resource.id"},
        threshold=1,
        within=timedelta(hours=settings.quiet_h),
    )
    yield "runs", runs, _RUN_SAYS


def _block_id(client: SyncPrefectClient, named: str) -> Any:
    from prefect.exceptions import ObjectNotFound

    kind, _, name = named.partition("/")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound as error:
        raise SettingsError(
            "Cannot apply the notifications",
            got=f"loop.notifications.blocks={named}",
            expected="a notification block of the Prefect server, as kind/name",
            do="Make it in the Prefect UI, under Blocks; or take its name out of the settings",
        ) from error
