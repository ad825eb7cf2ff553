"""The platform: start it, see what runs."""

from __future__ import annotations

from pathlib import Path

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows, show


def up(*, once: bool = False, resume: bool = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Run the pipeline once and keep the platform up until Ctrl-C.

    Starts the Prefect server, the service, Evidently's UI and the reports, each at the port of its setting.

    Args:
        once: Stop after the first answer.
        resume: Go on with the bundle in service, and run the pipeline only where nothing is in service.
    """
    from flows.platform.launch import run_platform

    run_platform(chosen.settle(show), show, stay=not once, resume=resume)


def status(*, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show what runs, what is in service, and how the last pipeline and validation ended.

    Works with everything down.
    """
    settings = chosen.enter()
    from flows.platform.status import describe_status, read_status

    found = read_status(settings)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    show(f"shop {found.shop}, work folder {found.work_dir}")
    print_rows([part.model_dump() for part in found.parts], as_json=False)
    print_rows([shop.model_dump() for shop in found.shops], as_json=False)
    for line in describe_status(found):
        show(line)


def serve_flows(recipe: Path | None = None, /, *, revision: str = "", chosen: Chosen = NOT_CHOSEN) -> None:
    """Serve a shop's deployments to a Prefect server that something else runs.

    `up` calls it with a recipe; shop, work folder and server then come from the environment alone. Without one, the
    settings say everything, and the server may be on another machine (platform.prefect_host).

    Args:
        recipe: A recipe as JSON.
        revision: The deployments' version, to know them from older ones.
    """
    from flows.platform.deployments import serve_deployments, serve_shop

    if recipe is None:
        serve_shop(chosen.resolve(), show)
    else:
        serve_deployments(recipe, revision)
