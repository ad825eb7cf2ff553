"""A recipe as a settings file, for `--settings`: what differs from the defaults, and nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import SettingsError
from core.settings.loading import parse_settings
from core.settings.tree import Recipe
from core.storage import atomic_file


def write_settings_file(file: Path, shop: str, recipe: Recipe, comments: Sequence[str] = ()) -> str:
    """Write a shop's recipe as TOML, atomically.

    Args:
        comments: Lines for the head of the file.
    Returns:
        The text.
    Raises:
        SettingsError: the recipe has a value that TOML cannot say.
    """
    import tomli_w

    chosen = _difference(recipe.model_dump(mode="json"), Recipe().model_dump(mode="json"))
    head = "".join(f"# {line}\n" for line in comments)
    text = head + tomli_w.dumps({"shop": shop, "recipe": chosen})
    read = parse_settings(tomllib.loads(text)).recipe
    if read != recipe:
        lost = _difference(recipe.model_dump(mode="json"), read.model_dump(mode="json"))
        raise SettingsError(
            "Cannot write settings", got=f"recipe={lost}", expected="values that TOML has", do="Leave it at its default"
        )
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def _difference(tree: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """What `tree` has otherwise; a variant of another kind whole."""
    if tree.get("kind") != default.get("kind"):
        return dict(_without_null(tree))
    chosen = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and isinstance(default.get(name), Mapping):
            if inner := _difference(value, default[name]):
                chosen[name] = inner
        elif value is not None and value != default.get(name):
            chosen[name] = _without_null(value)
    return chosen


def _without_null(value: Any) -> Any:
    """TOML has no null: a field without a value is left out."""
    if isinstance(value, Mapping):
        return {name: _without_null(one) for name, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value
