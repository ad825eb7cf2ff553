"""The settings that a command line asks for: `--settings`, `--source`, `--data` and `--set`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.settings.loading import VARIABLE_PREFIX, load_settings
from core.settings.tree import Settings

_KIND_VARIABLES = {f"{VARIABLE_PREFIX}RECIPE__SOURCE", f"{VARIABLE_PREFIX}RECIPE__SOURCE__KIND"}


def resolve_settings(
    file: Path | None, source: str | None, data: str | None, overrides: Sequence[str], variables: Mapping[str, str]
) -> Settings:
    """Resolve the options of a command.

    `--source` and `--data` are short for `recipe.source.kind` and `recipe.source.path`; a shop that is not named is
    called after its data, so that two sources never share features or bundles. Data that come alone are tables.

    Args:
        file: `--settings`, TOML.
        source: `--source`, a kind of source.
        data: `--data`, the source's file or folder.
        overrides: `--set`, `a.b=value` each; they win over the others.
        variables: The environment.
    Raises:
        SettingsError: a name is unknown, or a value is wrong.
    """
    given: list[str] = []
    is_alone = data and not file and not _KIND_VARIABLES & variables.keys()
    if source or is_alone:
        given.append(f"recipe.source.kind={source or 'tables'}")
    if data:
        path = Path(data).resolve()
        given += [f"recipe.source.path={path}", f"shop={shop_name(path)}"]
    elif source:
        given.append(f"shop={source}")
    return load_settings(file, variables, [*given, *overrides])


def shop_name(data: Path) -> str:
    """A shop's name from the name of its data: lower case, without endings."""
    name = re.sub(r"[^a-z0-9._-]+", "-", data.name.lower())
    return re.sub(r"(\.(json|jsonl|ndjson|csv|tsv|txt|parquet|gz|db|sqlite3?))+$", "", name).strip("-._") or "shop"
