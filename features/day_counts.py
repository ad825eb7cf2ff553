"""Events by day of many rows, in two arrays: a list for each of a million rows would take ten times the room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.counting.columns import Lists
from features.counting.streams import Array

# Room for so much more than is used, as lists come one by one; and the share of it that lists left before it is tidied.
_SLACK, _MOST_LEFT = 1.25, 0.5
_LEAST_ROOM = 1024


class DayCounts:
    """Per row the days on which something happened, and how often on each; a row that was never set has none."""

    def __init__(self) -> None:
        self._days, self._counts = (np.zeros(0, dtype=np.int32) for _ in range(2))
        self._starts, self._lengths = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
        self._used = self._left = 0

    def __len__(self) -> int:
        return len(self._starts)

    def grow(self, n_rows: int) -> None:
        """Have rows for so many in all."""
        missing = max(n_rows - len(self._starts), 0)
        self._starts = np.concatenate([self._starts, np.zeros(missing, dtype=np.int64)])
        self._lengths = np.concatenate([self._lengths, np.zeros(missing, dtype=np.int32)])

    def put(self, rows: Sequence[int], n_days: Sequence[int], days: Sequence[int], counts: Sequence[int]) -> None:
        """Take lists in the place of those of rows.

        Args:
            rows: Each once.
            n_days: How many each of them has.
            days: Since 1970, ascending in each row; one row after the other.
            counts: Of each day.
        """
        lengths, added = np.array(n_days, dtype=np.int32), len(days)
        self._left += int(self._lengths[rows].sum())
        if self._left > _MOST_LEFT * (self._used + added):
            self._lengths[rows] = 0
            self._tidy()
        self._reserve(self._used + added)
        end = slice(self._used, self._used + added)
        self._days[end], self._counts[end] = days, counts
        self._starts[rows], self._lengths[rows] = self._used + np.cumsum(lengths) - lengths, lengths
        self._used += added

    def of(self, rows: Sequence[int] | Array) -> tuple[Lists, Lists]:
        """Days and counts of rows, in their order."""
        lengths = self._lengths[rows].astype(np.int64)
        places = np.arange(lengths.sum()) + np.repeat(self._starts[rows] - (np.cumsum(lengths) - lengths), lengths)
        return (
            Lists(lengths, self._days[places].astype(np.int64)),
            Lists(lengths, self._counts[places].astype(np.int64)),
        )

    def _tidy(self) -> None:
        """Lay the lists end to end again, without what was left behind."""
        days, counts = self.of(np.arange(len(self)))
        self._days, self._counts = days.values.astype(np.int32), counts.values.astype(np.int32)
        self._starts, self._used, self._left = days.starts, len(days.values), 0

    def _reserve(self, n: int) -> None:
        if n > len(self._days):
            room = max(int(_SLACK * n), _LEAST_ROOM) - self._used
            self._days, self._counts = (
                np.concatenate([values[: self._used], np.zeros(room, dtype=np.int32)])
                for values in (self._days, self._counts)
            )
