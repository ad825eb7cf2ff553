"""What `prefect deploy` does for the deployments of a work pool: the build steps of `deployments/prefect.yaml`."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from core.settings.loading import FILE_VARIABLE, load_settings
from core.settings.tree import Settings
from flows.environment import HEARTBEAT_S, run_environment
from flows.loop.prefect_runs import shop_tag
from flows.platform.deployments import read_parameters
from flows.platform.prefect_server import pages

_HEARTBEAT = "prefect.flow-run.heartbeat"
_MISSED = 3  # heartbeats
# A run that waits for an approval or for its next try says nothing either.
_NO_MORE = ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "TimedOut", "Paused", "Suspended",
            "AwaitingRetry")  # fmt: skip


def fill_in() -> dict[str, Any]:
    """The settings of the file that SOMMELIER_SETTINGS names, and of this process's environment, for the placeholders.

    Returns:
        `shop`; `environment`, the variables of a worker's processes; and for each deployment its parameters, by its
        name with underscores.
    Raises:
        SettingsError: the settings cannot be read.
    """
    settings = _settings()
    parameters = read_parameters(settings.shop, settings.recipe, settings.search)
    return {
        "shop": settings.shop,
        "environment": run_environment(settings),
        **{name.replace("-", "_"): params for name, params in parameters.items()},
    }


def watch_runs(within_s: float = _MISSED * HEARTBEAT_S) -> dict[str, Any]:
    """Have the server mark runs of the shop as crashed of which nothing is heard any more: those whose worker was
    killed with them. Each flow that ends has Prometheus know of them.

    Args:
        within_s: How long a run may say nothing, seconds.
    Raises:
        SettingsError: the settings cannot be read.
    Source: Prefect's documentation, "How to detect and respond to zombie flows".
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events import AutomationCore, EventTrigger, Posture
    from prefect.events.actions import ChangeFlowRunState

    shop = _settings().shop
    automation = AutomationCore(
        name=f"sommelier {shop} runs that were lost",
        description="Applied by `prefect deploy`: marks as crashed what nothing is heard of any more.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{shop_tag(shop)}"},
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{state}" for state in _NO_MORE)},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=within_s),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"Nothing was heard of it for {within_s:g} s")],
    )
    with get_client(sync_client=True) as client:
        every = pages(lambda limit, offset: client.read_automations(limit=limit, offset=offset))
        there = [one.id for one in every if one.name == automation.name]
        if there:
            client.update_automation(there[0], automation)
        else:
            client.create_automation(automation)
    return {}


def _settings() -> Settings:
    file = os.environ.get(FILE_VARIABLE)
    return load_settings(Path(file) if file else None, os.environ)
