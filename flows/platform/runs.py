"""`sommelier run`: one run of a deployment on the platform that is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from core.errors import NotRunning, WrongUsage
from core.layout import Layout
from core.settings.form import Frozen
from core.settings.loading import put_value, refusal, validate_read
from core.settings.names import without_variants
from core.settings.tree import Settings
from flows.environment import enter_environment
from flows.params import (
    AudienceParams,
    CanaryParams,
    ForgetParams,
    PipelineParams,
    ReadmitParams,
    RollbackParams,
    TuneParams,
)
from flows.platform.deployments import deployment_name
from flows.platform.served_shops import served_revision

_REGISTER_TIMEOUT_S = 60.0
_PARAMS: dict[str, type[Frozen]] = {
    "tune": TuneParams,
    "rollback": RollbackParams,
    "follow-canary": CanaryParams,
    "readmit": ReadmitParams,
    "forget": ForgetParams,
    "write-feedback": AudienceParams,
}


def run_flow(settings: Settings, flow: str, changes: Sequence[str], show: Callable[[str], None]) -> None:
    """Run a deployment of the shop as the UI does, show its log as it grows, and wait for its end.

    Args:
        settings: Say which shop, in which work folder, and where its Prefect server is.
        flow: A deployment of `deployments/prefect.yaml`.
        changes: `a.b=value` each: parameters of this run; the others are those the platform was started with.
        show: Called with each line of progress.
    Raises:
        NotRunning: no Prefect server of the work folder answers, or nobody serves the shop.
        PortTaken: the server of another work folder does.
        WrongUsage: a parameter is unknown, or its value wrong.
        PartFailed, RunFailed: the server ended, or the run failed.
    """
    from flows.platform.prefect_server import read_parameters, run_deployment, wait_for_deployments

    revision = _revision(settings, flow)
    enter_environment(settings)
    name = deployment_name(flow, settings.shop)
    wait_for_deployments([name], revision, _REGISTER_TIMEOUT_S, lambda: None)
    parameters = change_parameters(flow, read_parameters(name), changes)
    address = settings.platform.url_of("prefect")
    show(f"running {flow} of shop {settings.shop}, {address}; Ctrl-C leaves it running")
    run = run_deployment(name, lambda line: show(f"  {line}"), lambda: None, parameters)
    show(waits_for_approval(run.name) if run.waits else f"completed: run {run.id}")


def waits_for_approval(run: str) -> str:
    """What is said of a run that asks somebody."""
    return f"run {run} waits for approval: answer in the Prefect UI, or by sommelier approve {run}"


def change_parameters(flow: str, parameters: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The parameters of a run: those of the deployment, with some changed.

    Args:
        flow: The deployment's name.
        parameters: `{"params": ...}`, as the deployment has them.
        changes: `a.b=value` each, below `params`.
    Raises:
        WrongUsage: a parameter is unknown, or its value wrong.
    """
    params = deepcopy(parameters.get("params", {}))
    texts: dict[str, str] = {}
    for change in changes:
        dotted, equals, value = change.partition("=")
        if not equals:
            raise WrongUsage(f"Cannot run {flow}", got=change, expected="name=value", do="Add a value")
        put_value(params, dotted.split("."), value, texts)
    model = _PARAMS.get(flow, PipelineParams)
    try:
        validate_read(model, params, texts)
    except ValidationError as error:
        name = without_variants(error.errors()[0]["loc"], params)
        do = "See the parameters of the deployment in the Prefect UI"
        raise WrongUsage(**refusal(model, name, error, f"Cannot run {flow}", do)) from error
    return {**parameters, "params": params}


def _revision(settings: Settings, flow: str) -> str:
    """The revision in which the shop is served by the running platform of this work folder."""
    from flows.platform.prefect_server import server_is_up

    where = settings.platform
    if not server_is_up(settings):
        raise NotRunning(
            f"Cannot run {flow}",
            got=f"platform.prefect_port={where.prefect_port}, where no Prefect server answers",
            expected=f"the Prefect server of {settings.work_dir.absolute()}",
            do="Start the platform: sommelier up; or give its port: --set platform.prefect_port=<port>",
        )
    revision = served_revision(Layout(settings.work_dir, settings.shop).root)
    if revision is None:
        raise NotRunning(
            f"Cannot run {flow}",
            got=f"shop={settings.shop}, whose deployments nobody serves",
            expected=f"a shop that a running platform of {settings.work_dir.absolute()} serves",
            do="See what runs: sommelier status; start the shop with sommelier up, or name another: --set shop=<name>",
        )
    return revision
