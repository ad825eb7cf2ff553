"""Settings from a TOML file, `SOMMELIER_` variables and `--set a.b=c`, in this order; later ones win."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import SettingsError, WrongUsage
from core.settings.names import API_KEY_VARIABLE, hint, without_variants
from core.settings.passwords import IN_ITS_PLACE, find_password, hide_passwords, is_secret_name
from core.settings.tree import Settings

M = TypeVar("M", bound=BaseModel)
VARIABLE_PREFIX = "SOMMELIER_"
# Names a settings file where there is no command line that could: for `prefect deploy`.
FILE_VARIABLE = "SOMMELIER_SETTINGS"
_TEXT_WANTED = ("string_type", "path_type")  # pydantic's errors of a number, true, false or null in a text's place


def load_settings(
    file: Path | None = None, variables: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> Settings:
    """Resolve the settings: `file`, then `variables`, then `overrides`; later ones win.

    Args:
        file: TOML, shaped as `Settings`.
        variables: The environment; `SOMMELIER_RECIPE__SOURCE__N_USERS=50` sets `recipe.source.n_users`.
        overrides: `a.b=value` each, where value is JSON or else a plain string; it is one too where a text is wanted.
    Raises:
        SettingsError: a name is unknown, a value is of the wrong type or out of range, or the file cannot be read;
            `WrongUsage` where an override says so.
    """
    tree: dict[str, Any] = {}
    texts: dict[str, str] = {}
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
            put_value(tree, name.removeprefix(VARIABLE_PREFIX).lower().split("__"), value, texts)
    for override in overrides:
        dotted, equals, value = override.partition("=")
        if not equals:
            raise WrongUsage("Cannot read settings", got=f"--set {override}", expected="a.b=value", do="Add a value")
        put_value(tree, dotted.split("."), value, texts)
    return parse_settings(tree, [override.partition("=")[0] for override in overrides], texts)


def parse_settings(
    tree: dict[str, Any], overridden: Sequence[str] = (), texts: Mapping[str, str] | None = None
) -> Settings:
    """Check a tree of plain values against `Settings`.

    Args:
        overridden: Dotted names of the settings that the command line gave.
        texts: What `put_value` noted.
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
        return validate_read(Settings, tree, texts or {})
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


def put_value(tree: dict[str, Any], path: Sequence[str], text: str, texts: dict[str, str]) -> None:
    """Put `text`, read as JSON where it is JSON, at `path` of a tree of plain values.

    Args:
        texts: Dotted names to texts that were read as something else: for `validate_read`, and kept up to date here.
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
    dotted = ".".join(path)
    for name in [name for name in texts if f"{name}.".startswith(f"{dotted}.")]:
        del texts[name]
    try:
        node[path[-1]] = json.loads(text)
    except json.JSONDecodeError:
        node[path[-1]] = text
    if not isinstance(node[path[-1]], (str, list, dict)):
        texts[dotted] = text


def validate_read(model: type[M], tree: dict[str, Any], texts: Mapping[str, str]) -> M:
    """Check a tree of plain values against a model. What is to be a text is taken as it was given, also where it reads
    as JSON: a shop may be called 2024, and a user `true`.

    Args:
        tree: Such values are put back into it.
        texts: What `put_value` noted.
    """
    left = dict(texts)
    while True:
        try:
            return model.model_validate(tree)
        except ValidationError as error:
            wanted = {without_variants(one["loc"], tree) for one in error.errors() if one["type"] in _TEXT_WANTED}
            if not wanted & left.keys():
                raise
            for name in wanted & left.keys():
                *groups, last = name.split(".")
                reduce(dict[str, Any].__getitem__, groups, tree)[last] = left.pop(name)
