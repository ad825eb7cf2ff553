"""Orders of the whole catalogue that are the same for everybody: by counts, by dates.

Sorting a million items for each request takes longer than everything else in it. So of a large catalogue an order is
kept, and a request walks down it as far as it has to; what it was made of may have changed since, so it is made again
behind the requests once it is old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Unpack

import numpy as np

from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters, best_items

logger = logging.getLogger(__name__)

# A larger catalogue's orders are kept between requests.
SORTED_AT_ONCE = 50_000
# An order that took a second to make is made again after so many: making them takes two hundredths of the time.
_AGE_PER_SECOND = 50.0
_LEAST_AGE_S = 1.0
# Places that are looked at first; of fewer than are wanted, four times as many follow.
_FIRST_STEP = 512


# What is made of an order, given it and what was made of the order whose place it takes, None where there is none.
Derive = Callable[["FixedScores", Any], Any]


class FixedScores:
    """A ranker by one score per item, the same for everybody; -inf never comes back.

    Attributes:
        scores: In the order of the ids. Shape (n_items,), float64.
        made_at: When they were counted.
        is_whole: Whether all that counts could be read.
    """

    def __init__(self, ids: IdMap, scores: np.ndarray) -> None:
        self._ids, self.scores = ids, scores.astype(np.float64)
        self.made_at = datetime.now(UTC)
        self.is_whole = True
        self._derived: dict[Hashable, tuple[Derive, Any]] = {}

    def derived(self, name: Hashable, make: Derive, is_current: Callable[[Any], bool] = lambda _: True) -> Any:
        """What is made of this order, made once; the order that takes this one's place makes the same beforehand.

        Args:
            name: Of what is made.
            make: Makes it, by the catalogue as it is when it is called.
            is_current: Whether what was made is still of use.
        """
        kept = self._derived.get(name)
        if kept is None or not is_current(kept[1]):
            kept = self._derived[name] = make, make(self, None)
        return kept[1]

    def prepare_as(self, before: FixedScores) -> None:
        """Make whatever was made of the order before."""
        for name, (make, made) in list(before._derived.items()):
            self._derived[name] = make, make(self, made)

    @property
    def ids(self) -> IdMap:
        return self._ids

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """See `Ranks`."""
        return best_items(np.tile(self.scores, (len(users), 1)), users, self._ids, k, **filters)

    def places(self) -> np.ndarray:
        """Where the items stand that may come back, best first, equal ones in their order. Shape (at most n_items,)."""
        order = np.argsort(-self.scores, kind="stable")
        return order[: np.count_nonzero(self.scores > -np.inf)]


class FixedOrder(FixedScores):
    """The same, sorted once: a list is found by walking down the order."""

    def __init__(self, ids: IdMap, scores: np.ndarray) -> None:
        super().__init__(ids, scores)
        self._order = super().places()

    def places(self) -> np.ndarray:
        """See `FixedScores`."""
        return self._order

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """See `Ranks`."""
        lists = []
        excluded = filters.get("exclude") or [()] * len(users)
        for user, left_out in zip(users, excluded, strict=True):
            own = [index - 1 for index in self._ids.known_indices(left_out)]
            seen = user.seen_places(self._ids) if filters.get("exclude_seen", True) else np.zeros(0, dtype=np.int64)
            hidden = np.concatenate([np.array(own, dtype=np.int64), seen])
            found = self._walk(k, hidden, filters.get("allowed"))
            lists.append([(self._ids.item_id(place + 1), float(self.scores[place])) for place in found])
        return lists

    def _walk(self, k: int, hidden: np.ndarray, allowed: np.ndarray | None) -> list[int]:
        found: list[int] = []
        for places in self._steps():
            keep = np.ones(len(places), dtype=bool) if allowed is None else allowed[places]
            if len(hidden):
                keep &= ~np.isin(places, hidden)
            found += places[keep][: k - len(found)].tolist()
            if len(found) == k:
                break
        return found

    def _steps(self) -> Iterator[np.ndarray]:
        start, step = 0, _FIRST_STEP
        while start < len(self._order):
            yield self._order[start : start + step]
            start, step = start + step, 4 * step


class KeptOrders:
    """The orders of one catalogue. Safe to share between threads.

    Args:
        ids: Of the catalogue.
        sorted_at_once: Those of a larger catalogue are kept.
    """

    def __init__(self, ids: IdMap, sorted_at_once: int = SORTED_AT_ONCE) -> None:
        self._ids, self._are_kept = ids, len(ids) > sorted_at_once
        self._kept: dict[Hashable, tuple[FixedOrder, float]] = {}
        self._renewing: set[Hashable] = set()
        self._lacks_threads = False
        self._lock = threading.Lock()

    def of(
        self,
        name: Hashable,
        count: Callable[[], np.ndarray],
        is_whole: Callable[[], bool] = lambda: True,
        *,
        is_away: bool = False,
    ) -> FixedScores:
        """The order of this name; of a large catalogue as it was some seconds ago.

        Args:
            count: The score of each item now, -inf for one that never comes back. Shape (n_items,).
            is_whole: Asked after `count`: whether it could read all that counts. An order that is not whole takes no
                whole one's place, and answers only while the store is away.
            is_away: Whether the store is: what is kept then answers, however old it is.
        """
        if not self._are_kept:
            order = FixedScores(self._ids, count())
            order.is_whole = is_whole()
            return order
        kept = self._kept.get(name)
        if kept is None or not (kept[0].is_whole or is_away):
            return self._make(name, count, is_whole)
        found, good_until = kept
        if time.monotonic() > good_until and not is_away:
            with self._lock:
                is_ours = name not in self._renewing
                self._renewing.add(name)
            if is_ours:
                self._renew_behind(name, count, is_whole)
        return found

    def _renew_behind(self, name: Hashable, count: Callable[[], np.ndarray], is_whole: Callable[[], bool]) -> None:
        try:
            threading.Thread(target=self._renew, args=(name, count, is_whole), name="orders", daemon=True).start()
        except RuntimeError:  # where the system gives no more threads; the next request tries it again
            with self._lock:
                self._renewing.discard(name)
            if not self._lacks_threads:
                self._lacks_threads = True
                logger.exception("The order by %s could not be made again; this is tried at each request for it", name)
        else:
            self._lacks_threads = False

    def _make(self, name: Hashable, count: Callable[[], np.ndarray], is_whole: Callable[[], bool]) -> FixedOrder:
        started = time.monotonic()
        order = FixedOrder(self._ids, count())
        order.is_whole = is_whole()
        if name in self._kept:
            order.prepare_as(self._kept[name][0])
        took = time.monotonic() - started
        with self._lock:
            before, _ = self._kept.get(name, (order, 0.0))
            kept = order if order.is_whole or not before.is_whole else before
            self._kept[name] = kept, time.monotonic() + max(_LEAST_AGE_S, _AGE_PER_SECOND * took)
        return order

    def _renew(self, name: Hashable, count: Callable[[], np.ndarray], is_whole: Callable[[], bool]) -> None:
        try:
            self._make(name, count, is_whole)
        except Exception:
            # The one before answers until the store can be read again; the next request tries it.
            logger.exception("The order by %s could not be made again", name)
        finally:
            with self._lock:
                self._renewing.discard(name)
