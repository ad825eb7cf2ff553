"""What `deployments/compose.yaml` says, as compose reads it where the environment is empty."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.contract.documents import ROOT

COMPOSE = ROOT / "deployments" / "compose.yaml"
_DEFAULT = re.compile(r"(?<!\$)\$\{\w+:-([^}]*)\}")
# Of other makers: their commands are theirs to test.
FOREIGN = {"postgres", "redis", "prometheus", "grafana"}


def services() -> dict[str, dict[str, Any]]:
    """The services by name, with the defaults of variables filled in."""
    return dict(filled(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))["services"])


def filled(value: Any) -> Any:
    """A value with the defaults of its variables, and `$$` as the `$` that it stands for."""
    if isinstance(value, dict):
        return {name: filled(one) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one) for one in value]
    return _DEFAULT.sub(r"\1", value).replace("$$", "$") if isinstance(value, str) else value
