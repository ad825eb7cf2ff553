"""What `deployments/compose.yaml` says, as compose reads it where the environment is empty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.contract.documents import ROOT

COMPOSE = ROOT / "deployments" / "compose.yaml"
_DEFAULT = re.compile(r"(?<!\$)\$\{\w+(?::-([^}]*))?\}")
# Of other makers: their commands are theirs to test.
FOREIGN = {"postgres", "redis", "prometheus", "grafana"}


def services(own: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The services by name, with the defaults of variables filled in, and in `environment` all that each is given.

    Args:
        own: What the file of the user's own settings says; None where there is none.
    """
    found = filled(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))["services"]
    for service in found.values():
        given: dict[str, str] = {}
        for file in service.get("env_file", ()):
            given |= _variables(COMPOSE.parent / file["path"]) if file.get("required", True) else own or {}
        service["environment"] = given | service.get("environment", {})
    return dict(found)


def _variables(file: Path) -> dict[str, str]:
    """What a file of variables says; what stands in single quotes is not filled in."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pairs = [line.split("=", 1) for line in lines]
    return {name: value.strip("'") if value.startswith("'") else filled(value) for name, value in pairs}


def filled(value: Any) -> Any:
    """A value with the defaults of its variables, and `$$` as the `$` that it stands for."""
    if isinstance(value, dict):
        return {name: filled(one) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one) for one in value]
    return _DEFAULT.sub(r"\1", value).replace("$$", "$") if isinstance(value, str) else value
