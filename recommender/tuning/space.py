"""Which settings a search may change, checked against the recipe before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from core.errors import SettingsError
from core.settings.search import Choices, Dimension, Range, SearchSettings, Value
from core.settings.tree import Recipe

# What ranks, in the order of fitting. The other groups decide the questions, or what the ranking does not hang on.
SEARCHABLE = ("encoder", "augmentation", "sequence", "neighbours", "item_knn", "blend")
Values = dict[str, Value]
# Of a setting of which a fit tries several values, the setting that holds the others.
TRIED_BESIDE = {
    "neighbours.regularisation": "neighbours.try_regularisations",
    "item_knn.recency": "item_knn.try_recencies",
}
# Digits of a proposed number: more would make no difference, and make a settings file hard to read.
_DIGITS = 4


def check_space(recipe: Recipe, space: Mapping[str, Dimension]) -> None:
    """Make sure that every setting exists, ranks, and may have every value of its dimension.

    Raises:
        SettingsError: names the first setting that does not, or the value that it may not have.
    """
    for path, dimension in space.items():
        kind = _kind_of(recipe, path)
        if isinstance(dimension, Choices):
            ends: list[tuple[str, Value]] = [("choices", choice) for choice in dimension.choices]
        elif kind not in (int, float):
            raise _refused(path, "low", dimension.low, "choices, for it is no number")
        else:
            ends = [("low", dimension.low), ("high", dimension.high)]
            _check_whole(path, dimension, kind)
        for name, value in ends:
            _check_value(recipe, path, name, value)


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with these settings changed; it itself, where it has these values.

    What a fit would try beside a value that is searched is taken out: the fit would overrule the search.

    Raises:
        ValidationError: a setting may not have its value.
    """
    if values == values_of(recipe, values):
        return recipe
    alone: dict[str, Any] = {TRIED_BESIDE[path]: () for path in values if path in TRIED_BESIDE}
    tree = recipe.model_dump()
    for path, value in {**values, **alone}.items():
        *groups, name = path.split(".")
        node = tree
        for group in groups:
            node = node[group]
        node[name] = value
    return Recipe.model_validate(tree)


def values_of(recipe: Recipe, space: Iterable[str]) -> Values:
    """What the recipe has for every setting of the space."""
    return {path: _find(recipe, path) for path in space}


def rounded(value: Value, dimension: Dimension) -> Value:
    """A proposed number with as many digits as matter, still within its range."""
    if not isinstance(value, float) or isinstance(dimension, Choices):
        return value
    return min(max(float(f"{value:.{_DIGITS}g}"), dimension.low), dimension.high)


def points_of(recipe: Recipe, path: str, dimension: Dimension, n_points: int) -> list[Value]:
    """The values of one dimension on a grid: its choices, its steps, or `n_points` spread over its range."""
    if isinstance(dimension, Choices):
        return list(dict.fromkeys(dimension.choices))
    low, high = dimension.low, dimension.high
    if dimension.step is not None:
        points = low + dimension.step * np.arange(n_steps(dimension) + 1)
    elif dimension.log:
        points = np.geomspace(low, high, n_points)
    else:
        points = np.linspace(low, high, n_points)
    if _kind_of(recipe, path) is int:
        return list(dict.fromkeys(round(float(point)) for point in points))
    return list(dict.fromkeys(rounded(float(point), dimension) for point in points))


def holds(recipe: Recipe, path: str, dimension: Dimension, value: Value, n_points: int | None) -> bool:
    """Whether a dimension, or its grid of `n_points`, holds a value."""
    if n_points is not None or isinstance(dimension, Choices):
        return value in points_of(recipe, path, dimension, n_points or 0)
    if isinstance(value, str) or not dimension.low <= value <= dimension.high:
        return False
    steps = (value - dimension.low) / (dimension.step or 1)
    return dimension.step is None or abs(steps - round(steps)) < 1e-8


def n_steps(dimension: Range) -> int:
    """How many steps fit into a range that has a step."""
    return math.floor((dimension.high - dimension.low) / (dimension.step or 1) + 1e-9)


def grid_of(recipe: Recipe, settings: SearchSettings) -> list[Values]:
    """Every point of the grid once.

    Where the budget holds them all, settings of later stages change fastest, so that a fitted component serves many
    points; otherwise their order is random by the recipe's seed, so that the budget is spread over the whole grid.
    """
    paths = sorted(settings.space, key=lambda path: SEARCHABLE.index(path.split(".")[0]))
    axes = [points_of(recipe, path, settings.space[path], settings.n_points) for path in paths]
    points = [dict(zip(paths, values, strict=True)) for values in itertools.product(*axes)]
    if len(points) < settings.n_trials:
        return points
    order = np.random.default_rng(recipe.seed).permutation(len(points))
    return [points[place] for place in order]


def is_whole_number(recipe: Recipe, path: str) -> bool:
    """Whether a setting counts something."""
    return _kind_of(recipe, path) is int


def _kind_of(recipe: Recipe, path: str) -> Any:
    """The type of a setting, or None where it has several.

    Raises:
        SettingsError: there is no such setting, or a search may not change it.
    """
    if path.split(".")[0] not in SEARCHABLE or path == "augmentation.perturb_words":
        raise SettingsError(
            "Cannot search",
            got=f"search.space={path}",
            expected=f"a setting that the ranking hangs on, of {', '.join(SEARCHABLE)}",
            do="Name one of those; see every setting: sommelier settings",
        )
    node: Any = recipe
    for part in path.split("."):
        fields = getattr(type(node), "model_fields", {})
        if part not in fields:
            raise SettingsError(
                "Cannot search",
                got=f"search.space={path}",
                expected=f"one of {', '.join(fields)} instead of '{part}'" if fields else f"nothing below '{part}'",
                do="See every setting: sommelier settings",
            )
        annotation, node = fields[part].annotation, getattr(node, part)
    kinds = {kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)}
    return kinds.pop() if len(kinds) == 1 else None


def _find(recipe: Recipe, path: str) -> Any:
    node: Any = recipe
    for part in path.split("."):
        node = getattr(node, part)
    return node


def _check_whole(path: str, dimension: Range, kind: type) -> None:
    if kind is int:
        for name in ("low", "high", "step"):
            value = getattr(dimension, name)
            if value is not None and value != int(value):
                raise _refused(path, name, value, "a whole number")


def _check_value(recipe: Recipe, path: str, name: str, value: Value) -> None:
    try:
        got = _find(with_values(recipe, {path: value}), path)
    except ValidationError as error:
        raise _refused(path, name, value, error.errors()[0]["msg"]) from error
    if got != value or isinstance(got, bool) != isinstance(value, bool):
        raise _refused(path, name, value, f"the type {type(got).__name__}")


def _refused(path: str, name: str, value: Value, expected: str) -> SettingsError:
    return SettingsError(
        "Cannot search",
        got=f"search.space.{path}.{name}={value!r}",
        expected=expected,
        do="Change the space; see every setting: sommelier settings",
    )
