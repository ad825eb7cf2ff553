"""One run of a deployment: on the platform that is up, or else with a Prefect server of its own until it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.layout import Layout
from core.settings.tree import Settings
from flows.environment import enter_environment
from flows.platform.deployments import deployment_name
from flows.platform.launch import check_parts, running_parts, start_flows
from flows.platform.parts import check_ports
from flows.platform.served_shops import check_no_other_server, check_not_served, served_revision

_REGISTER_TIMEOUT_S = 60.0


def run_once(
    settings: Settings, flow: str, parameters: dict[str, Any] | None, show: Callable[[str], None], doing: str
) -> None:
    """Run a deployment, and show its log as it grows.

    Args:
        settings: The resolved settings.
        flow: A deployment of `deployments/prefect.yaml`.
        parameters: Of the run; None takes the deployment's own.
        show: Called with each line of progress.
        doing: What the run does, in one word.
    Raises:
        SettingsError: a Prefect server of its own would be open to others.
        PortTaken: something that is not this shop's platform listens on the Prefect server's port.
        ShopTaken: this shop's platform runs, and has its Prefect server at another port.
        PartFailed, RunFailed: a part could not start, or the run failed.
    """
    from flows.platform.prefect_server import run_deployment, server_is_up, wait_for_deployments

    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    where = settings.platform
    name, root = deployment_name(flow, settings.shop), Layout(settings.work_dir, settings.shop).root
    up = server_is_up(settings)
    if up and (revision := served_revision(root)):
        enter_environment(settings)
        show(f"{doing} on the platform that is up, {where.url_of('prefect')} ...")
        wait_for_deployments([name], revision, _REGISTER_TIMEOUT_S, lambda: None)
        run_deployment(name, lambda line: show(f"  {line}"), lambda: None, parameters)
        return
    check_not_served(root)
    if not up:
        check_no_other_server(settings.work_dir, where.prefect_port)
        settings.check_exposure(["prefect"])
        check_ports(where, ["prefect"])
    with running_parts(settings, show, joins=up) as (platform, asked):
        start_flows(settings, platform, show, asked)
        show(f"{doing}; see it at {where.url_of('prefect')} ...")
        run_deployment(name, lambda line: show(f"  {line}"), lambda: check_parts(platform, asked), parameters)
