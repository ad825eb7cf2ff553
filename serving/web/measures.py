"""Figures of a bundle's evaluation, as its manifest has them, in the order in which people ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What is told first; a bundle's own metrics end with the k of its evaluation.
_FIRST = ("ndcg", "recall", "hit_rate", "mrr", "coverage", "diversity")


def headline(metrics: Mapping[str, Any]) -> list[tuple[str, float, tuple[float, float] | None]]:
    """The first measures of what is served: name, value, and its interval where there is one."""
    served = metrics.get("served")
    values = metrics.get("ranking", {}).get(served, {})
    intervals = metrics.get("intervals", {}).get(served, {})
    names = [name for first in _FIRST for name in values if name.startswith(f"{first}_at_")]
    return [(name, values[name], tuple(intervals[name]) if name in intervals else None) for name in names]
