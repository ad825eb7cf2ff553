"""`sommelier tune`: a search on the platform that is up, or else with a Prefect server of its own until it is done."""

from __future__ import annotations

import os
from collections.abc import Callable

import httpx

from flows.edge import child_environment
from flows.errors import PortTaken
from flows.launch import check_parts, running_parts, start_flows
from flows.params import TuneParams
from flows.parts import check_ports
from recommender.settings import Settings

_DEPLOYMENT = "tune/tune"
_PROBE_TIMEOUT_S = 5.0


def run_search(settings: Settings, show: Callable[[str], None]) -> None:
    """Run the `tune` deployment and show its log as it grows; a search that was stopped goes on where it was.

    Args:
        settings: The resolved settings.
        show: Called with each line of progress.
    Raises:
        PortTaken: something that is not this shop's platform listens on the Prefect server's port.
        PartFailed, RunFailed: a part could not start, or the search failed.
    """
    from flows.prefect_server import run_deployment

    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    where = settings.platform
    params = TuneParams(shop=settings.shop, recipe=settings.recipe, search=settings.search)
    parameters = {"params": params.model_dump(mode="json")}
    if _platform_is_up(settings):
        os.environ.update(child_environment(settings))
        show(f"searching on the platform that is up, http://{where.host}:{where.prefect_port} ...")
        run_deployment(_DEPLOYMENT, lambda line: show(f"  {line}"), lambda: None, parameters)
        return
    check_ports(where.host, {"prefect": where.prefect_port})
    with running_parts(settings, show) as (platform, asked):
        start_flows(settings, platform, show, asked)
        show(f"searching; see it at http://{where.host}:{where.prefect_port} ...")
        run_deployment(_DEPLOYMENT, lambda line: show(f"  {line}"), lambda: check_parts(platform, asked), parameters)


def _platform_is_up(settings: Settings) -> bool:
    """Whether a Prefect server of this work folder answers.

    Raises:
        PortTaken: one of another work folder does.
    """
    where = settings.platform
    url = f"http://{where.host}:{where.prefect_port}/api/admin/settings"
    try:
        answer = httpx.get(url, timeout=_PROBE_TIMEOUT_S)
    except httpx.TransportError:
        return False
    if not answer.is_success:
        return False
    home = answer.json().get("home")
    if home == str(settings.work_dir / "prefect"):
        return True
    raise PortTaken(
        "Cannot search",
        got=f"platform.prefect_port={where.prefect_port}, where the Prefect server of {home} answers",
        expected=f"a free port, or the server of {settings.work_dir / 'prefect'}",
        do="Give its work_dir and shop, or another platform.prefect_port",
    )
