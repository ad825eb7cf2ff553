"""`python -m serving`: the service, with the options of `bentoml serve`, and with metrics of its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import _bentoml_impl.server.serving as supervisor  # type: ignore[import-untyped]
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils import circus
from bentoml_cli.cli import cli

from core.errors import SommelierError
from core.settings.loading import VARIABLE_PREFIX, load_settings
from core.settings.tree import Settings
from serving.http.metrics_folder import own_folder
from serving.processes.log_lines import write_log_lines
from serving.processes.worker import FRONT, SEATS

_HOST, _PORT = "--host", "--port"
# How often the supervisor looks for workers that have ended; BentoML's own is 10 s.
_CHECK_S = 1.0


def main() -> None:
    """Serve until a signal comes."""
    try:
        settings, options = settle_address(sys.argv[1:], os.environ)
        settings.check_exposure()
    except SommelierError as error:
        sys.exit(str(error))
    write_log_lines(settings.logs.format)
    # The workers read their settings themselves: these tell them where the service listens.
    os.environ[f"{VARIABLE_PREFIX}PLATFORM__SERVICE_HOST"] = settings.platform.host_of("service")
    home = Path(BentoMLContainer.bentoml_home.get())
    with own_folder(home / "metrics") as metrics, own_folder(home / "seats") as seats:
        # To be said before BentoML makes the folder and tells the workers: no setting of BentoML's does.
        BentoMLContainer.prometheus_multiproc_dir.set(str(metrics))
        os.environ[SEATS] = str(seats)
        supervisor._SERVICE_WORKER_SCRIPT = "serving.processes.worker"
        circus.create_standalone_arbiter = partial(circus.create_standalone_arbiter, check_delay=_CHECK_S)
        cli(["serve", FRONT, *options], prog_name="python -m serving")


def settle_address(options: Sequence[str], variables: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings with the host that an option names, and the options with the host and port that settings name.

    BentoML would listen everywhere where nothing names a host.

    Args:
        options: Of `bentoml serve`.
        variables: The environment.
    """
    settings, options = load_settings(variables=variables), list(options)
    host = _value_of(_HOST, options) or variables.get("BENTOML_HOST")
    if host:
        settings = load_settings(variables=variables, overrides=[f'platform.service_host="{host}"'])
    else:
        options += [_HOST, settings.platform.host_of("service")]
    if not (_value_of(_PORT, options) or _value_of("-p", options) or variables.get("BENTOML_PORT")):
        options += [_PORT, str(settings.platform.service_port)]
    return settings, options


def _value_of(name: str, options: Sequence[str]) -> str:
    """What an option was given last, as `--name value` or `--name=value`; empty where it was not."""
    found = ""
    for place, word in enumerate(options):
        if word == name and place + 1 < len(options):
            found = options[place + 1]
        elif word.startswith(f"{name}="):
            found = word.removeprefix(f"{name}=")
    return found


if __name__ == "__main__":
    main()
