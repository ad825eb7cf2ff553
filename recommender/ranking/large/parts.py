"""The parts of a blend for a large catalogue: each finds its best items by itself, and scores some items alone.

A blend counts what a part makes of an item less the mean over the catalogue, by the deviation. Of products of vectors
both follow from the mean and the covariance of the items' vectors, of counts from a sum, so that no part scores every
item for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import ItemsThen
from recommender.ranking.large.nearest import Allowed, NearestRows
from recommender.ranking.parts import Asked, ItemToItem

Found = TypeVar("Found")
# Mean and standard deviation of a part's scores over the whole catalogue.
Moments = tuple[float, float]
# Of an order by counts so many of its first places are kept.
_KEPT = 100_000
# How old the order by recent counts may be: its scores are of now, whatever its age.
_RECENT_S = 60.0


@dataclass(frozen=True)
class AskedOne(Asked):
    """One user; what several steps of an answer read is worked out once.

    Attributes:
        computed: By name.
    """

    computed: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, compute: Callable[[AskedOne], Found]) -> Found:
        """What was computed under a name, or is now."""
        if name not in self.computed:
            self.computed[name] = compute(self)
        found: Found = self.computed[name]
        return found


class PartAtPlaces(Protocol):
    """What a part has to be able to."""

    def best(self, asked: AskedOne, n: int, allowed: Allowed) -> np.ndarray:
        """About its n best places, best first. Shape (at most n,), int64."""
        ...

    def at(self, asked: AskedOne, places: np.ndarray) -> np.ndarray:
        """What it makes of some places. Shape (N,), float32."""
        ...

    def moments(self, asked: AskedOne) -> Moments:
        """Of what it makes of all items."""
        ...


@dataclass(frozen=True)
class Spread:
    """Mean and covariance of the rows of a matrix. Shapes (D,) and (D, D), float64."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, page: int = 65_536) -> Spread:
        """Of rows, a page after the other. Shape (n, D)."""
        mean = rows.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((rows.shape[1], rows.shape[1]))
        for start in range(0, len(rows), page):
            centred = rows[start : start + page] - mean.astype(np.float32)
            covariance += (centred.T @ centred).astype(np.float64)
        return cls(mean, covariance / max(len(rows), 1))

    def of_products(self, vector: np.ndarray) -> Moments:
        """Of the rows' products with a vector."""
        exact = vector.astype(np.float64)
        return float(self.mean @ exact), float(np.sqrt(max(exact @ self.covariance @ exact, 0.0)))


@dataclass(frozen=True)
class Products:
    """A part whose scores are products of the items' vectors with one of the user: the sequence model, the texts.

    Attributes:
        rows: The items' vectors. Shape (n_items, D), float32.
        added: To each product; None for nothing. The index and the spread have it as a further column.
        index: Of the vectors.
        spread: Of the vectors.
        vector_of: The user's. Shape (D,).
    """

    rows: np.ndarray
    added: np.ndarray | None
    index: NearestRows
    spread: Spread
    vector_of: Callable[[AskedOne], np.ndarray]

    def best(self, asked: AskedOne, n: int, allowed: Allowed) -> np.ndarray:
        """See `PartAtPlaces`."""
        return self.index.search(self._wide(asked), n, allowed)

    def at(self, asked: AskedOne, places: np.ndarray) -> np.ndarray:
        """See `PartAtPlaces`."""
        products: np.ndarray = self.rows[places] @ self.vector_of(asked)
        return products if self.added is None else products + self.added[places]

    def moments(self, asked: AskedOne) -> Moments:
        """See `PartAtPlaces`."""
        return self.spread.of_products(self._wide(asked))

    def _wide(self, asked: AskedOne) -> np.ndarray:
        vector = self.vector_of(asked)
        return vector if self.added is None else np.append(vector, np.float32(1))


@dataclass(frozen=True)
class Weights:
    """Weights of the items of a history, added: of all items but a few thousand they are 0.

    Attributes:
        part: `neighbours` or `item_knn`.
        held_out: Items of which the part is to know nothing. Shape (n_items,), bool.
    """

    part: ItemToItem
    held_out: np.ndarray

    def best(self, asked: AskedOne, n: int, allowed: Allowed) -> np.ndarray:
        """See `PartAtPlaces`."""
        places, values = self._found(asked)
        return allowed.of(places[np.argsort(-values, kind="stable")])[:n]

    def at(self, asked: AskedOne, places: np.ndarray) -> np.ndarray:
        """See `PartAtPlaces`."""
        known, values = self._found(asked)
        if not len(known):
            return np.zeros(len(places), dtype=np.float32)
        where = np.minimum(np.searchsorted(known, places), len(known) - 1)
        return np.where(known[where] == places, values[where], np.float32(0))

    def moments(self, asked: AskedOne) -> Moments:
        """See `PartAtPlaces`."""
        _, values = self._found(asked)
        mean, square = (float(one.sum(dtype=np.float64)) / len(self.held_out) for one in (values, np.square(values)))
        return mean, float(np.sqrt(max(square - mean * mean, 0.0)))

    def _found(self, asked: AskedOne) -> tuple[np.ndarray, np.ndarray]:
        """Places, ascending, and their sums. Shapes (N,)."""
        return asked.once(self.part.name, self._sums)

    def _sums(self, asked: AskedOne) -> tuple[np.ndarray, np.ndarray]:
        places, values = self.part.model.sums(asked.histories[0], asked.ratings[0], asked.events[0])
        kept = ~self.held_out[places]
        return places[kept], values[kept]


class Counts:
    """The same for everybody: popularity.

    Args:
        scores: Shape (n_items,), float32.
    """

    def __init__(self, scores: np.ndarray) -> None:
        self._scores, self._order = scores, _best_first(scores)
        self._moments = _moments(scores)

    def best(self, asked: AskedOne, n: int, allowed: Allowed) -> np.ndarray:
        """See `PartAtPlaces`."""
        return _walk(self._order, n, allowed)

    def at(self, asked: AskedOne, places: np.ndarray) -> np.ndarray:
        """See `PartAtPlaces`."""
        found: np.ndarray = self._scores[places]
        return found

    def moments(self, asked: AskedOne) -> Moments:
        """See `PartAtPlaces`."""
        return self._moments


class RecentCounts:
    """Popularity in a recent window. Scores are of the moment of asking; which items are best, and their mean, are of
    the minute before.

    Args:
        ids: Of the catalogue.
        window: Which of the windows that the feature store counts, 0 for the shortest.
        at_cut_off: Scores of a user without counts of then. Shape (n_items,), float32.
        ties: Added to counts. Shape (n_items,).
        held_out: Items of which the part is to know nothing. Shape (n_items,), bool.
    """

    def __init__(self, ids: IdMap, window: int, at_cut_off: np.ndarray, ties: np.ndarray, held_out: np.ndarray) -> None:
        self._ids, self._window, self._ties, self._held_out = ids, window, ties, held_out
        self._at_cut_off = Counts(at_cut_off)
        self._lock = threading.Lock()
        self._kept: tuple[int, float, Counts] | None = None

    def best(self, asked: AskedOne, n: int, allowed: Allowed) -> np.ndarray:
        """See `PartAtPlaces`."""
        return self._counts(asked).best(asked, n, allowed)

    def at(self, asked: AskedOne, places: np.ndarray) -> np.ndarray:
        """See `PartAtPlaces`."""
        then = asked.users[0].items_then
        if then is None:
            return self._at_cut_off.at(asked, places)
        return self._scores(then, places)

    def moments(self, asked: AskedOne) -> Moments:
        """See `PartAtPlaces`."""
        return self._counts(asked).moments(asked)

    def _counts(self, asked: AskedOne) -> Counts:
        then = asked.users[0].items_then
        if then is None:
            return self._at_cut_off
        with self._lock:
            kept = self._kept
            if kept is None or kept[0] != then.day or time.monotonic() > kept[1]:
                found = Counts(self._scores(then, np.arange(len(self._ids))))
                kept = self._kept = (then.day, time.monotonic() + _RECENT_S, found)
        return kept[2]

    def _scores(self, then: ItemsThen, places: np.ndarray) -> np.ndarray:
        counts = then.counts_at(self._ids, places)[:, self._window]
        scores = np.log1p(counts + self._ties[places]).astype(np.float32)
        scores[self._held_out[places]] = 0.0
        return scores


def _best_first(scores: np.ndarray) -> np.ndarray:
    """The first places of an order. Shape (at most `_KEPT`,), int64."""
    if len(scores) > _KEPT:
        least = np.partition(scores, len(scores) - _KEPT)[len(scores) - _KEPT]
        above = np.flatnonzero(scores > least)
        places = np.sort(np.append(above, np.flatnonzero(scores == least)[: _KEPT - len(above)]))
    else:
        places = np.arange(len(scores))
    found: np.ndarray = places[np.argsort(-scores[places], kind="stable")]
    return found


def _moments(scores: np.ndarray) -> Moments:
    return float(scores.mean(dtype=np.float64)), float(scores.std(dtype=np.float64))


def _walk(order: np.ndarray, n: int, allowed: Allowed) -> np.ndarray:
    """The first n of an order that may come back."""
    found, start, step = order[:0], 0, max(2 * n, 512)
    while start < len(order) and len(found) < n:
        found = np.append(found, allowed.of(order[start : start + step]))
        start, step = start + step, 4 * step
    return found[:n]
