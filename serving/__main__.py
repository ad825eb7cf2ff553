"""`python -m serving`: the service, with the options of `bentoml serve`, and with metrics of its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml_cli.cli import cli

from core.errors import SommelierError
from core.settings.loading import VARIABLE_PREFIX, load_settings
from core.settings.tree import Settings
from serving.http.metrics_folder import own_folder

_HOST, _PORT = "--host", "--port"


def main() -> None:
    """Serve until a signal comes."""
    try:
        settings, options = settle_address(sys.argv[1:], os.environ)
        settings.check_exposure()
    except SommelierError as error:
        sys.exit(str(error))
    # The workers read their settings themselves: these tell them where the service listens.
    os.environ[f"{VARIABLE_PREFIX}PLATFORM__SERVICE_HOST"] = settings.platform.host_of("service")
    with own_folder(Path(BentoMLContainer.bentoml_home.get()) / "metrics") as folder:
        # To be said before BentoML makes the folder and tells the workers: no setting of BentoML's does.
        BentoMLContainer.prometheus_multiproc_dir.set(str(folder))
        cli(["serve", "serving.service:Sommelier", *options], prog_name="python -m serving")


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
