"""Settings from a TOML file, `SOMMELIER_` variables and `--set a.b=c`, in this order; later ones win."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from core.errors import SettingsError, WrongUsage
from core.settings.names import hint, without_variants
from core.settings.passwords import IN_ITS_PLACE, find_password, hide_passwords, is_secret_name
from core.settings.tree import Settings

VARIABLE_PREFIX = "SOMMELIER_"
# What a client takes its key of a service from; a secret, so no setting.
API_KEY_VARIABLE = "SOMMELIER_API_KEY"
# Names a settings file where there is no command line that could: for `prefect deploy`.
FILE_VARIABLE = "SOMMELIER_SETTINGS"


def load_settings(
    file: Path | None = None, variables: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """Resolve the settings: `file`, then `variables`, then `overrides`; later ones win.

    Args:
        file: TOML, shaped as `Settings`.
        variables: The environment; `SOMMELIER_RECIPE__SOURCE__N_USERS=50` sets `recipe.source.n_users`.
        overrides: `a.b=value` each, where value is JSON or else a plain string.
    Raises:
        SettingsError: a name is unknown, a value is of the wrong type or out of range, or the file cannot be read;
            `WrongUsage` where an override says so.
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
        if name.startswith(VARIABLE_PREFIX) and name not in (API_KEY_VARIABLE, FILE_VARIABLE):
            put_value(tree, name.removeprefix(VARIABLE_PREFIX).lower().split("__"), value)
    for override in overrides:
        dotted, equals, value = override.partition("=")
        if not equals:
            raise WrongUsage("Cannot read settings", got=f"--set {override}", expected="a.b=value", do="Add a value")
        put_value(tree, dotted.split("."), value)
    return parse_settings(tree, [override.partition("=")[0] for override in overrides])


def parse_settings(tree: Mapping[str, Any], overridden: Sequence[str] = ()) -> Settings:
    """Check a tree of plain values against `Settings`.

    Args:
        overridden: Dotted names of the settings that the command line gave.
    Raises:
        SettingsError: names the first offending setting; `WrongUsage` where the command line gave it.
    """
    if found := find_password(tree):
        raise SettingsError(
            "Cannot read settings",
            got="=".join(found),
            expected=IN_ITS_PLACE,
            do="See every setting: sommelier settings",
        )
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        name = without_variants(error.errors()[0]["loc"], tree)
        is_overridden = any(f"{name}.".startswith(f"{one}.") or f"{one}.".startswith(f"{name}.") for one in overridden)
        failed = "Cannot read settings"
        do = "See every setting: sommelier settings"
        raise (WrongUsage if is_overridden else SettingsError)(**refusal(Settings, name, error, failed, do)) from error


def refusal(model: type[BaseModel], name: str, error: ValidationError, failed: str, do: str) -> dict[str, str]:
    """The parts of the message that says what pydantic found first; for an unknown name, which may be meant.

    Args:
        name: Dotted, of the offending setting.
        failed: What cannot be done.
        do: What to do next.
    """
    first = error.errors()[0]
    is_unknown = first["type"] == "extra_forbidden"
    shown = "***" if is_unknown and is_secret_name(name) else hide_passwords(repr(first.get("input")))
    return {
        "failed": failed,
        "got": f"{'unknown name ' if is_unknown else ''}{name}={shown}",
        "expected": "a name that there is" if is_unknown else first["msg"].removeprefix("Value error, "),
        "do": f"{hint(model, name) if is_unknown else ''}{do}",
    }


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
