"""Settings from a TOML file, `SOMMELIER_` variables and `--set a.b=c`, in this order; later ones win."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.errors import SettingsError
from core.settings.passwords import hide_passwords
from core.settings.tree import Settings

VARIABLE_PREFIX = "SOMMELIER_"


def load_settings(
    file: Path | None = None, variables: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """Resolve the settings: `file`, then `variables`, then `overrides`; later ones win.

    Args:
        file: TOML, shaped as `Settings`.
        variables: The environment; `SOMMELIER_RECIPE__SOURCE__N_USERS=50` sets `recipe.source.n_users`.
        overrides: `a.b=value` each, where value is JSON or else a plain string.
    Raises:
        SettingsError: a name is unknown, a value is of the wrong type or out of range, or the file cannot be read.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                "Cannot read settings",
                got=f"file={file}",
                expected=f"readable TOML, but {error}",
                do="Correct the file",
            ) from error
    for name, value in sorted((variables or {}).items()):
        if name.startswith(VARIABLE_PREFIX):
            put_value(tree, name.removeprefix(VARIABLE_PREFIX).lower().split("__"), value)
    for override in overrides:
        dotted, equals, value = override.partition("=")
        if not equals:
            raise SettingsError("Cannot read settings", got=f"--set {override}", expected="a.b=value", do="Add a value")
        put_value(tree, dotted.split("."), value)
    return parse_settings(tree)


def parse_settings(tree: Mapping[str, Any]) -> Settings:
    """Check a tree of plain values against `Settings`.

    Raises:
        SettingsError: names the first offending setting.
    """
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            "Cannot read settings",
            got=f"{name}={hide_passwords(repr(first.get('input')))}",
            expected=first["msg"].removeprefix("Value error, "),
            do="See every setting: sommelier settings",
        ) from error


def put_value(tree: dict[str, Any], path: Sequence[str], text: str) -> None:
    """Put `text`, read as JSON where it is JSON, at `path` of a tree of plain values.

    Raises:
        SettingsError: a part of the path is a value, not a group.
    """
    node = tree
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise SettingsError(
                "Cannot read settings",
                got=".".join(path),
                expected=f"{part} to be a group of settings",
                do="Check the name",
            )
    try:
        node[path[-1]] = json.loads(text)
    except json.JSONDecodeError:
        node[path[-1]] = text
