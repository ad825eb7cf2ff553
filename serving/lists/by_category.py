"""The first items of each category in an order of the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.api.lists import CategoryList, PopularItem
from serving.lists.cards import ItemCards
from serving.lists.orders import FixedScores

# Items that are kept as they are shown: some thousand categories, of a few each. Making them anew takes longest.
MAX_KEPT = 100_000


class CategoryShelves:
    """The items of one order, grouped once: what a request wants of each category is looked up, and shown as it was
    shown before. Safe to share between threads.

    Args:
        order: What stands in it, best first; -inf never comes back.
        cards: What is shown of the items.
        before: Of the order before: what was asked of those is made again, and what is shown alike is the same object.

    Attributes:
        cards: The same; shelves are of no use once the catalogue shows something else.
    """

    def __init__(self, order: FixedScores, cards: ItemCards, before: CategoryShelves | None = None) -> None:
        self.cards, self._scores = cards, order.scores
        places = order.places()
        # A group is an item's category; what has none stands on no shelf.
        places = places[cards.category_codes[places] >= 0]
        groups = cards.category_codes[places]
        by_group = np.argsort(groups, kind="stable")
        self._places, self._rank = places[by_group].astype(np.int32), by_group.astype(np.int32)
        sorted_groups = groups[by_group]
        self._begins = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
        self._lengths = np.diff(self._begins, append=len(sorted_groups))
        self._shown: dict[int, PopularItem] = {}
        self._whole: tuple[int, list[CategoryList]] | None = None
        if before is not None:
            self._continue(before)

    def _continue(self, before: CategoryShelves) -> None:
        if before.cards is self.cards:
            shown = dict(before._shown)
            self._shown = {place: item for place, item in shown.items() if item.score == self._scores[place]}
        if before._whole is not None:
            self.first(before._whole[0])

    def first(
        self, n: int, hidden: Sequence[int] | np.ndarray = (), allowed: np.ndarray | None = None
    ) -> list[CategoryList]:
        """The best n items of each category, the category with the best one first.

        Args:
            n: Fewer come back of a category that has fewer.
            hidden: Places of items that may not come back.
            allowed: False for items that may not come back either; None allows all. Shape (n_items,), bool.
        """
        is_whole, whole = allowed is None and not len(hidden), self._whole
        if is_whole and whole is not None and whole[0] == n:
            return whole[1]
        found = self._of_all(n, np.asarray(hidden)) if allowed is None else self._of_allowed(n, hidden, allowed)
        in_order = found[np.argsort(self._rank[found])]
        shelves: dict[str, list[PopularItem]] = {}
        for place in self._places[in_order].tolist():
            item = self._shown.get(place) or self._show(place)
            shelves.setdefault(item.category or "", []).append(item)
        lists = [CategoryList(category=category, items=items) for category, items in shelves.items()]
        if is_whole and len(found) <= MAX_KEPT:
            self._whole = n, lists
        return lists

    def _of_all(self, n: int, hidden: np.ndarray) -> np.ndarray:
        """Where the first n of each group stand: only the beginning of each is looked at. Shape (N,)."""
        out = self.cards.category_codes[hidden] if len(hidden) else np.zeros(0, dtype=np.int32)
        most = int(np.bincount(out[out >= 0]).max(initial=0))
        heads = np.minimum(self._lengths, n + most)
        starts = np.cumsum(heads) - heads
        within = np.arange(heads.sum()) - np.repeat(starts, heads)
        found = np.repeat(self._begins, heads) + within
        if not most:
            return found
        keep = ~np.isin(self._places[found], hidden)
        before: np.ndarray = np.cumsum(keep) - keep
        return found[keep & (before - np.repeat(before[starts], heads) < n)]

    def _of_allowed(self, n: int, hidden: Sequence[int] | np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """The same of what is let through. Shape (N,)."""
        keep = allowed[self._places]
        if len(hidden):
            keep &= ~np.isin(self._places, hidden)
        left = np.flatnonzero(keep)
        groups = np.searchsorted(self._begins, left, side="right")
        new = np.diff(groups, prepend=0) != 0
        starts = np.flatnonzero(new)
        within = np.arange(len(left)) - np.repeat(starts, np.diff(starts, append=len(left)))
        return left[within < n]

    def _show(self, place: int) -> PopularItem:
        item = PopularItem(**self.cards.at(place), score=float(self._scores[place]))
        if len(self._shown) < MAX_KEPT:
            self._shown[place] = item
        return item
