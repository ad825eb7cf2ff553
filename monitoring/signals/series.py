"""A series: one signal's sums for each day, from which any window's figure, and its noise, is a subtraction away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.alarms import Family

# rate: counts per exposure (events per day, nulls per user). mean: of values, one or several. mix: shares of kinds.
Kind = Literal["rate", "mean", "mix"]
# Where alarm is called: at any move, or at the worse one alone.
Worse = Literal["either", "lower", "higher"]
OTHER = "(other)"


@dataclass(frozen=True)
class Landmarks:
    """What a person knows in the space of a mean of several values: they name where it moved.

    Attributes:
        places: Shape (n, n_parts).
    """

    names: tuple[str, ...]
    places: np.ndarray


@dataclass(frozen=True)
class Series:
    """One signal of one segment, day by day, oldest first.

    Attributes:
        name: Dotted, such as `data.items.price.level`.
        exposure: What is divided by: users (each counts once a day), pairs, days. Shape (n_days,).
        sums: Of counts, of values, or of the weight of each kind. Shape (n_days, n_parts).
        squares: Of the values of a mean. Shape as `sums`; None of other kinds.
        labels: Of the parts, such as the kinds of a mix.
        segment: `column=value`; None: everybody.
        fresh: In place of sums, for what is new in a window: the weight of each day (row) by the day on which that was
            seen first (column). Shape (n_days, n_days).
        is_share: Whether a rate is a share of its exposure, and no count without an upper end.
        unit: Of the value, for a person; "" for plain numbers and shares.
        least: Exposure of a window below which nothing is said.
        is_log: Whether the values are logarithms.
        consequence: 0 for what may be a cause, more for what follows: of what moves together, causes are named first.
        worse: Which way it is worse; a move the other way is no alarm.
        begins: The watched day of the first row, where what is older is not known.
        landmarks: Of a mean of several values.
        windows: In which it is watched, days.
    """

    name: str
    family: Family
    kind: Kind
    exposure: np.ndarray
    sums: np.ndarray
    squares: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    segment: str | None = None
    fresh: np.ndarray | None = None
    is_share: bool = False
    unit: str = ""
    least: float = 30.0
    is_log: bool = False
    consequence: int = 1
    worse: Worse = "either"
    begins: int = 0
    landmarks: Landmarks | None = None
    windows: tuple[int, ...] = (1, 7, 28)

    @property
    def n_days(self) -> int:
        """Days that the series covers."""
        return len(self.exposure)


def running(values: np.ndarray) -> np.ndarray:
    """Sums from the first day up to each day: row e is the sum of the days before day e. Shape (n_days + 1, ...)."""
    values = np.asarray(values, dtype=float)
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])


def new_weights(fresh: np.ndarray, days: int) -> np.ndarray:
    """What was new in the window of so many days that ends before each day. Shape (n_days + 1,)."""
    table = running(running(fresh).T).T  # [d, f]: of days before d, first seen before f
    ends = np.arange(len(fresh) + 1)
    begins = np.maximum(ends - days, 0)
    found: np.ndarray = table[ends, ends] - table[begins, ends] - table[ends, begins] + table[begins, begins]
    return found
