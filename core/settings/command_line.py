"""The settings that a command line asks for: `--settings`, `--source`, `--data` and `--set`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.layout import Layout
from core.settings.loading import VARIABLE_PREFIX, load_settings
from core.settings.source import Source
from core.settings.tree import MAX_SHOP_CHARS, Settings
from core.storage import digest_of

_DIGEST_CHARS = 8
_KIND_VARIABLES = {f"{VARIABLE_PREFIX}RECIPE__SOURCE", f"{VARIABLE_PREFIX}RECIPE__SOURCE__KIND"}


def resolve_settings(
    file: Path | None, source: str | None, data: str | None, overrides: Sequence[str], variables: Mapping[str, str]
) -> Settings:
    """Resolve the options of a command.

    `--source` and `--data` are short for `recipe.source.kind` and `recipe.source.path`; a shop that is not named is
    called after its data, so that two sources never share features or bundles: where the work folder has a shop of that
    name and other data, a part of the path's digest is added. Data that come alone are tables.

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
        given.append(f"recipe.source.path={path}")
        work_dir = load_settings(file, variables, [*given, *overrides]).work_dir
        given.append(f"shop={free_shop_name(path, work_dir)}")
    elif source:
        given.append(f"shop={source}")
    return load_settings(file, variables, [*given, *overrides])


def free_shop_name(data: Path, work_dir: Path) -> str:
    """The name of the shop of these data: that of the data, unless the work folder's shop of that name has others.

    Args:
        data: Resolved.
    """
    name = shop_name(data)
    taken = _data_of(Layout(work_dir, name).root)
    return name if taken is None or taken == str(data) else _with_digest(name, data)


def changed_source(layout: Layout, source: Source) -> str | None:
    """What to say where a shop was served with other data before: legal, as files move, or two shops of one name.

    Args:
        layout: Of the shop.
        source: It is to be served with.
    """
    try:
        before = json.loads(layout.recipe.read_text(encoding="utf-8"))["source"]
        was, now = _place(before), _place(source.model_dump(mode="json"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # none, or one of another release
    if was == now:
        return None
    return (
        f"warning: shop {layout.shop} had its data from {was} and has them from {now} now; what it learned and logged "
        "goes on with them. If this is another shop, name it: --set shop=<name>"
    )


def _place(source: Mapping[str, Any]) -> str:
    """Where a source's data lie, as people say it."""
    if path := source.get("path"):
        return f"{source['kind']} {Path(path).resolve()}"
    return f"{source['kind']} {source['url']}" if source.get("url") else str(source["kind"])


def shop_name(data: Path) -> str:
    """A shop's name from the name of its data: lower case, without endings, as long as a shop's name may be."""
    name = re.sub(r"[^a-z0-9._-]+", "-", data.name.lower())
    name = re.sub(r"(\.(json|jsonl|ndjson|csv|tsv|txt|parquet|gz|db|sqlite3?))+$", "", name).strip("-._") or "shop"
    return name if len(name) <= MAX_SHOP_CHARS else _with_digest(name, data)


def _with_digest(name: str, data: Path) -> str:
    return f"{name[: MAX_SHOP_CHARS - _DIGEST_CHARS - 1].rstrip('-._')}-{digest_of(str(data))[:_DIGEST_CHARS]}"


def _data_of(root: Path) -> str | None:
    """The data that a shop was served or guessed from, empty where it has none of a path; None for no such shop."""
    for file in (Layout(root.parent, root.name).recipe, Layout(root.parent, root.name).guessed):
        try:
            text = file.read_text(encoding="utf-8")
            tree = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)["recipe"]
            path = tree["source"].get("path")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # none, or one that somebody is editing
        return str(Path(path).resolve()) if path else ""
    return None
