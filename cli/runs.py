"""Runs of flows on the platform: any deployment, and the search for better settings."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from cli.options import NOT_CHOSEN, Chosen
from cli.output import show

# The deployments of deployments/prefect.yaml.
FlowName = Literal[
    "pipeline",
    "refresh-features",
    "fine-tune",
    "tune",
    "write-feedback",
    "monitor",
    "follow-canary",
    "rollback",
    "readmit",
    "forget",
]
SearchMethod = Literal["bayes", "random", "grid"]


def run(
    flow: FlowName,
    /,
    *,
    changes: Annotated[list[str] | None, Parameter(name="--param", json_list=False)] = None,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Run a deployment of a shop on the platform that is up, and wait for its end.

    The settings say which shop, work folder and server. The run takes the recipe that the platform was started with;
    `--set recipe...` changes it for this run.

    Args:
        flow: The deployment.
        changes: A parameter of this run, `name=value` (`refresh=true`); give it again for more.
    """
    from flows.platform.runs import run_flow

    of_recipe = [override for override in chosen.overrides if override.startswith("recipe.")]
    run_flow(chosen.resolve(), flow, [*of_recipe, *(changes or [])], show)


def automations(*, chosen: Chosen = NOT_CHOSEN) -> None:
    """Have the Prefect server tell what happens to the shop, by the blocks of loop.notifications.

    `up` does the same. Beside a work pool of your own, PREFECT_API_URL says which server.
    """
    from flows.platform.notifications import apply_on_server

    for name in apply_on_server(chosen.resolve()):
        show(f"automation {name}")


def tune(*, method: SearchMethod | None = None, trials: int | None = None, chosen: Chosen = NOT_CHOSEN) -> None:
    """Search for better settings of the recipe; a search that was stopped goes on where it was.

    Uses the platform that is up, or else a Prefect server of its own until it is done.

    Args:
        method: Short for --set search.method=...
        trials: Trials in all; short for --set search.n_trials=...
    """
    from flows.platform.tune import run_search
    from recommender.tuning.space import check_space

    short = {"search.method": method, "search.n_trials": trials}
    settings = chosen.settle(show, *(f"{name}={value}" for name, value in short.items() if value is not None))
    check_space(settings.recipe, settings.search.space)
    run_search(settings, show)
