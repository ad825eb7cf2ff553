"""Figures of a bundle's evaluation, as its manifest has them, in the order in which people ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recommender.evaluation.names import ACCURACY, BEYOND_ACCURACY, name_models, served_in

# What is told first; a bundle's own metrics end with the k of its evaluation.
_FIRST = ("ndcg", "recall", "hit_rate", "mrr", "coverage", "diversity")
_IN_TABLE = ("ndcg", "recall", "mrr", "hit_rate", "coverage")
_WORDS = {**ACCURACY, **BEYOND_ACCURACY}


@dataclass(frozen=True)
class Row:
    """A ranker of an evaluation.

    Attributes:
        name: For people.
        is_served: Whether it is what answers.
        values: Of each measure of the table; None where it has none.
        interval: Of the first measure; None where there is none.
    """

    name: str
    is_served: bool
    values: tuple[float | None, ...]
    interval: tuple[float, float] | None


def headline(metrics: Mapping[str, Any]) -> list[tuple[str, float, tuple[float, float] | None]]:
    """The first measures of what is served: name, value, and its interval where there is one."""
    served = metrics.get("served")
    values = metrics.get("ranking", {}).get(served, {})
    intervals = metrics.get("intervals", {}).get(served, {})
    names = [name for first in _FIRST for name in values if name.startswith(f"{first}_at_")]
    return [(name, values[name], tuple(intervals[name]) if name in intervals else None) for name in names]


def ranker_table(metrics: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    """Every ranker of an evaluation, before and after fine-tuning, beside the baselines: the heads and the rows."""
    ranking, intervals = metrics.get("ranking", {}), metrics.get("intervals", {})
    served, k = served_in(metrics), metrics.get("k")
    keys = [f"{name}_at_{k}" for name in _IN_TABLE]
    rows = []
    for model, name in name_models(ranking, served).items():
        low_high = intervals.get(model, {}).get(keys[0])
        values = tuple(ranking[model].get(key) for key in keys)
        rows.append(Row(name, model == served, values, tuple(low_high) if low_high else None))
    return [f"{_WORDS[name]}@{k}" for name in _IN_TABLE], rows
