"""Serve the deployments of `deployments/prefect.yaml` from this process, with the given recipe as their parameters."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from pydantic import BaseModel

from core.errors import NotRunning
from core.layout import Layout
from core.settings.command_line import changed_source
from core.settings.search import SearchSettings
from core.settings.tree import Recipe, Settings
from core.storage import digest_of, write_json
from flows.environment import current_settings, enter_environment
from flows.loop.events import shop_resource
from flows.loop.prefect_runs import shop_tag
from flows.params import (
    AudienceParams,
    CanaryParams,
    ForgetParams,
    PipelineParams,
    ReadmitParams,
    RollbackParams,
    TuneParams,
)
from flows.platform.served_shops import check_not_served, serving
from flows.steps.versions import code_version

SHOP_TAG = "shop:{{ sommelier.shop }}"  # in the topology: what `prefect deploy` fills in
TOPOLOGY = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
# By work queue. A rollback has one of its own, so that it never waits until a training ends; so has forgetting, which
# stops a training that reads the person's data at its next step; and the look at a canary, which may have to go now.
RUNS_AT_ONCE = {"default": 2, "rollback": 1, "forget": 1, "canary": 1}
_SERVER_WAIT_S = 120.0
_SERVER_LOOK_S = 1.0


def read_topology(file: Path = TOPOLOGY) -> list[dict[str, Any]]:
    """The deployments as the file has them."""
    return list(yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"])


def deployment_name(flow: str, shop: str) -> str:
    """What Prefect calls the deployment of a flow that a shop's platform serves: `flow/deployment`."""
    return f"{flow}/{flow}-{shop}"


def new_revision(settings: Settings) -> str:
    """A name for the deployments of one launch: a digest of what they are filled in with, and a part of its own.

    Two launches with equal settings and code share the digest, and no two share the whole.
    """
    given = (settings.recipe.model_dump(mode="json"), settings.search.model_dump(mode="json"))
    return f"{digest_of(settings.shop, *given, code_version())[:12]}-{uuid4().hex[:8]}"


def read_parameters(shop: str, recipe: Recipe, search: SearchSettings | None = None) -> dict[str, dict[str, Any]]:
    """What the runs of each deployment take where nothing else is said, by its name in the topology.

    Args:
        shop, recipe, search: As of `build_deployments`.
    """
    pipeline = PipelineParams(shop=shop, recipe=recipe)
    others: dict[str, BaseModel] = {
        "rollback": RollbackParams(shop=shop),
        "follow-canary": CanaryParams(shop=shop),
        "write-feedback": AudienceParams(shop=shop),
        "forget": ForgetParams(shop=shop, recipe=recipe),
        "readmit": ReadmitParams(shop=shop, recipe=recipe),
        "tune": TuneParams(shop=shop, recipe=recipe, search=search or SearchSettings()),
    }
    names = [entry["name"] for entry in read_topology()]
    return {name: others.get(name, pipeline).model_dump(mode="json") for name in names}


def build_deployments(
    shop: str, recipe: Recipe, search: SearchSettings | None = None, revision: str | None = None
) -> list[Any]:
    """One Prefect deployment per entry of the topology, its form filled in with this shop, recipe and search.

    Args:
        shop: Part of each deployment's name and tags, so that shops live side by side on one server.
        recipe: The forms' recipe.
        search: That of `tune`; None takes the defaults.
        revision: The deployments' version, by which whoever waits for them knows them from older ones.
    """
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.types.entrypoint import EntrypointType

    parameters = read_parameters(shop, recipe, search)
    built = []
    for entry in read_topology():
        file, _, name = entry["entrypoint"].partition(":")
        flow = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
        built.append(
            flow.to_deployment(
                name=deployment_name(entry["name"], shop).partition("/")[2],
                version=revision,
                description=entry["description"],
                tags=[*(tag for tag in entry["tags"] if tag != SHOP_TAG), shop_tag(shop)],
                concurrency_limit=entry["concurrency_limit"],
                schedules=[
                    {"schedule": CronSchedule(cron=s["cron"], timezone=s["timezone"]), "active": s["active"]}
                    for s in entry["schedules"]
                ],
                triggers=[_trigger(one, shop) for one in entry.get("triggers", ())],
                parameters={"params": parameters[entry["name"]]},
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
        )
    return built


def _trigger(given: Mapping[str, Any], shop: str) -> Any:
    """An automation of the topology, for the events of this shop alone."""
    from prefect.events import DeploymentEventTrigger

    match = {**given["match"], "prefect.resource.id": shop_resource(shop)}
    return DeploymentEventTrigger.model_validate({**given, "match": match})


def by_queue(built: Sequence[Any]) -> dict[str, list[Any]]:
    """The deployments that share a limit of runs at once, by the work queue that the topology gives them."""
    queues: dict[str, list[Any]] = {}
    for entry, deployment in zip(read_topology(), built, strict=True):
        queues.setdefault(entry["work_pool"]["work_queue_name"], []).append(deployment)
    return queues


def serve_deployments(recipe_file: Path, revision: str) -> None:
    """Serve until stopped; the recipe comes from a JSON file that the launcher wrote.

    Raises:
        ShopTaken: another process serves this shop.
    """
    recipe = Recipe.model_validate_json(recipe_file.read_text(encoding="utf-8"))
    settings = current_settings()
    built = build_deployments(settings.shop, recipe, settings.search, revision)
    with serving(Layout(settings.work_dir, settings.shop).root, revision), suppress(KeyboardInterrupt):
        asyncio.run(serve_queues(by_queue(built)))


def serve_shop(settings: Settings, show: Callable[[str], None], wait_s: float = _SERVER_WAIT_S) -> None:
    """Serve the deployments, with the recipe of the settings, until a signal comes.

    Args:
        settings: Say which shop, in which work folder, and where its Prefect server is.
        show: Called with each line of progress.
        wait_s: How long the server may take until it answers, seconds.
    Raises:
        SourceError: the source is not there, or not as the settings say.
        ShopTaken: another process serves this shop.
        NotRunning: no Prefect server answers.
        PortTaken: the server of another work folder does, on this machine.
    """
    from flows.platform.notifications import apply_notifications
    from flows.platform.prefect_server import clear_stale_runs
    from validation.sources.ingest import check_source

    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    check_source(settings.recipe.source)
    layout = Layout(settings.work_dir, settings.shop)
    check_not_served(layout.root)
    enter_environment(settings)
    _wait_for_server(settings, wait_s)
    if cleared := clear_stale_runs(Layout(settings.work_dir, settings.shop)):
        show(f"cleared {cleared} runs that an earlier process left behind")
    if warning := changed_source(layout, settings.recipe.source):
        show(warning)
    write_json(layout.recipe, settings.recipe.model_dump(mode="json"))
    for name in apply_notifications(settings.shop, settings.loop.notifications):
        show(f"automation {name}")
    show(f"serving the deployments of shop {settings.shop} to {settings.platform.url_of('prefect')} ...")
    serve_deployments(layout.recipe, new_revision(settings))


def _wait_for_server(settings: Settings, wait_s: float) -> None:
    from flows.platform.prefect_server import server_is_up

    until = time.monotonic() + wait_s
    while not server_is_up(settings):
        if time.monotonic() > until:
            raise NotRunning(
                "Cannot serve the deployments",
                got=f"no Prefect server at {settings.platform.url_of('prefect')}",
                expected=f"that of {settings.work_dir}, within {wait_s:.0f} s",
                do="Start it, or name where it is: platform.prefect_host, platform.prefect_port",
            )
        time.sleep(_SERVER_LOOK_S)


async def serve_queues(queues: Mapping[str, Sequence[Any]]) -> None:
    """Run what is due, each queue with slots of its own, until SIGTERM."""
    from prefect.runner import Runner

    runners = {queue: Runner(limit=RUNS_AT_ONCE[queue]) for queue in queues}
    for queue, built in queues.items():
        for deployment in built:
            await runners[queue].aadd_deployment(deployment)
    served = [asyncio.create_task(runner.start()) for runner in runners.values()]
    while not (all(runner.started for runner in runners.values()) or any(task.done() for task in served)):
        await asyncio.sleep(0.05)
    # Each runner has set a handler that stops it alone, within whatever the process does just then.
    stopping: list[asyncio.Task[None]] = []
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM,
        lambda: stopping.extend(asyncio.create_task(runner.astop()) for runner in runners.values() if runner.started),
    )
    ended, _ = await asyncio.wait(served, return_when=asyncio.FIRST_EXCEPTION)
    for task in ended:
        task.result()
