"""Serve the deployments of `deployments/prefect.yaml` from this process, with the given recipe as their parameters."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from flows.edge import current_settings
from flows.params import PipelineParams, ReadmitParams, RollbackParams, TuneParams
from recommender.settings import Recipe
from recommender.tuning.search_settings import SearchSettings

TOPOLOGY = Path(__file__).parent.parent / "deployments" / "prefect.yaml"
RUNS_AT_ONCE = 2


def read_topology(file: Path = TOPOLOGY) -> list[dict[str, Any]]:
    """The deployments as the file has them."""
    return list(yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"])


def build_deployments(shop: str, recipe: Recipe, search: SearchSettings | None = None) -> list[Any]:
    """One Prefect deployment per entry of the topology, its form filled in with this shop, recipe and search."""
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.types.entrypoint import EntrypointType

    pipeline = PipelineParams(shop=shop, recipe=recipe).model_dump(mode="json")
    others = {
        "rollback": RollbackParams(shop=shop).model_dump(mode="json"),
        "readmit": ReadmitParams(shop=shop, recipe=recipe).model_dump(mode="json"),
        "tune": TuneParams(shop=shop, recipe=recipe, search=search or SearchSettings()).model_dump(mode="json"),
    }
    built = []
    for entry in read_topology():
        file, _, name = entry["entrypoint"].partition(":")
        flow = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
        built.append(
            flow.to_deployment(
                name=entry["name"],
                description=entry["description"],
                tags=entry["tags"],
                concurrency_limit=entry["concurrency_limit"],
                schedules=[
                    {"schedule": CronSchedule(cron=s["cron"], timezone=s["timezone"]), "active": s["active"]}
                    for s in entry["schedules"]
                ],
                parameters={"params": others.get(entry["name"], pipeline)},
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
        )
    return built


def serve_deployments(recipe_file: Path) -> None:
    """Serve until stopped; the recipe comes from a JSON file that the launcher wrote."""
    from prefect import serve

    recipe = Recipe.model_validate_json(recipe_file.read_text(encoding="utf-8"))
    settings = current_settings()
    serve(*build_deployments(settings.shop, recipe, settings.search), limit=RUNS_AT_ONCE, print_starting_message=False)
