"""The items' facts in memory, kept as fresh as the online store: a request for a hundred candidates reads no row.

The online store counts the changes of its rows. Reading a user's row gives the count along with it; if it has grown,
only the rows that changed since are read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from features.counting.columns import Facts
from features.counting.derivation import ITEM_INPUTS, count_windows, derive_item
from features.counting.streams import DAY_US, Array
from features.counting.views import ITEM_PROFILE
from features.day_counts import DayCounts
from features.feast.rows import in_pages, parse_row
from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import NUMBERS, ItemColumns

_NUMBERS = tuple(name for name in ITEM_INPUTS if name not in ("item_days", "item_day_counts"))
_PRICE = _NUMBERS.index("item_price")
_PAGE = 50_000  # rows that are parsed at a time

Change = tuple[str, str | bytes | None, int]


class ItemMatrix:
    """Facts of all items, by row. Safe to share between threads.

    Args:
        windows_days: Windows of popularity, whole days.
    """

    def __init__(self, windows_days: Sequence[int]) -> None:
        self.seen = 0  # changes of the store that are in here
        self._windows = sorted(windows_days)
        self._lock = threading.Lock()
        self._row_of: dict[str, int] = {}
        # Row 0 stands for every item that the store does not know.
        self._numbers = self._unknown(1)
        self._day_counts = DayCounts()
        self._day_counts.grow(1)
        self._popularity = np.zeros((1, len(self._windows)), dtype=np.int64)
        self._today = 0
        self._rows: tuple[IdMap, int, Array] | None = None

    def __len__(self) -> int:
        return len(self._row_of)

    def take(self, changes: Iterable[Change]) -> None:
        """Take in rows that changed: (item, served text, None if it is gone, number of the change), oldest first.

        Page by page, so that a million texts are not in memory at once; they count as seen once all of them are in.
        """
        newest = self.seen
        for page in in_pages(changes, _PAGE):
            self._take(page)
            newest = max(newest, page[-1][2])
        self.seen = newest

    def _take(self, changes: Sequence[Change]) -> None:
        changes = list({change[0]: change for change in changes}.values())  # of several of an item the last
        with self._lock:
            new = [item for item, _, _ in changes if item not in self._row_of]
            self._row_of |= {item: len(self._numbers) + n for n, item in enumerate(dict.fromkeys(new))}
            missing = len(self._row_of) + 1 - len(self._numbers)
            if missing:
                self._numbers = np.concatenate([self._numbers, self._unknown(missing)])
                nothing = np.zeros((missing, len(self._windows)), dtype=np.int64)
                self._popularity = np.concatenate([self._popularity, nothing])
                self._day_counts.grow(len(self._numbers))
            # Flat: lists of lists keep Python's garbage collector busy for longer than all the rest takes.
            rows, n_days, days, counts = [self._row_of[item] for item, _, _ in changes], [], [], []
            for row, (_, served, _) in zip(rows, changes, strict=True):
                facts = {} if served is None else parse_row(ITEM_PROFILE, served)
                self._numbers[row] = [facts[name] for name in _NUMBERS] if facts else self._numbers[0]
                own = facts.get("item_days", ())
                n_days.append(len(own))
                days += own
                counts += facts.get("item_day_counts", ())
            self._day_counts.put(rows, n_days, days, counts)
            self._popularity[rows] = self._count(rows, self._today)

    def read(self, item_ids: Sequence[str], at_us: int) -> Facts:
        """The features of items at a moment (see `derive_item`); an item that is not known has none."""
        with self._lock:
            row_of = self._row_of
            rows = np.array([row_of.get(item, 0) for item in item_ids], dtype=np.int64)
            facts, popularity = self._facts_of(rows, at_us)
        return derive_item(facts, np.full(len(rows), at_us), self._windows, popularity)

    def read_places(self, ids: IdMap, places: Array, at_us: int) -> Facts:
        """The same of items at places of a catalogue, from 0: no id is looked up, so all of them may be asked."""
        with self._lock:
            facts, popularity = self._facts_of(self._rows_of(ids)[places], at_us)
        return derive_item(facts, np.full(len(places), at_us), self._windows, popularity)

    def _facts_of(self, rows: Array, at_us: int) -> tuple[dict[str, Any], Array]:
        """Facts by name, and events in each window. Copies, which nobody else writes."""
        return dict(zip(_NUMBERS, self._numbers[rows].T, strict=True)), self._popularity_of(rows, at_us)

    def _popularity_of(self, rows: Array, at_us: int) -> Array:
        """Events in each window that ends at a moment. Shape (N, n_windows), int64."""
        day, today = at_us // DAY_US, time.time_ns() // 1000 // DAY_US
        # All are counted once a day, in one go. A request for a later day is not worth that, but a clock that was set
        # back over midnight is: the day that was counted last comes again only tomorrow.
        if self._today < day <= today or day == today < self._today:
            self._popularity, self._today = self._count(np.arange(len(self._numbers)), day), day
        return self._popularity[rows] if day == self._today else self._count(rows, day)

    def at(self, at_us: int) -> ItemsAt:
        """The items as of a moment."""
        return ItemsAt(self, at_us)

    def popularity(self, ids: IdMap, at_us: int, places: Array | None = None) -> Array:
        """Events in each window that ends at a moment, of a catalogue's items, or of those at some places of it.

        Returns:
            Shape (N, n_windows), int64.
        """
        with self._lock:
            rows = self._rows_of(ids) if places is None else self._rows_of(ids)[places]
            return self._popularity_of(rows, at_us)

    def _rows_of(self, ids: IdMap) -> Array:
        """Where a catalogue's items stand; looked up again where items have come in since."""
        known = self._rows
        if known is None or known[0] is not ids or known[1] != len(self._row_of):
            rows = np.array([self._row_of.get(item, 0) for item in ids], dtype=np.int64)
            self._rows = known = (ids, len(self._row_of), rows)
        return known[2]

    def _count(self, rows: Sequence[int] | Array, today: int) -> Array:
        days, counts = self._day_counts.of(rows)
        return count_windows(days, counts, np.full(len(rows), today), self._windows)

    @staticmethod
    def _unknown(n: int) -> Array:
        numbers = np.zeros((n, len(_NUMBERS)), dtype=np.int64)
        numbers[:, _PRICE] = -1
        return numbers


class ItemsAt:
    """The items of a matrix as of one moment, for a ranker: `recommender.inputs.item_moments.ItemsThen`."""

    def __init__(self, matrix: ItemMatrix, at_us: int) -> None:
        self._matrix, self._at_us = matrix, at_us

    @property
    def day(self) -> int:
        """See `ItemsThen`."""
        return self._at_us // DAY_US

    def counts_at(self, ids: IdMap, places: Array) -> Array:
        """See `ItemsThen`."""
        return self._matrix.popularity(ids, self._at_us, places)

    def of(self, ids: IdMap) -> ItemColumns:
        """Those of a catalogue, as fresh as the matrix was when it was asked."""

        def numbers(places: Array) -> dict[str, Array]:
            found = self._matrix.read_places(ids, places, self._at_us)
            return {name: np.asarray(found[name], dtype=np.float64) for name in NUMBERS}

        return ItemColumns(self._matrix.popularity(ids, self._at_us), numbers)
