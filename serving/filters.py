"""Which items of the catalogue a request allows: by category and price, as a mask for every ranker."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from core.schema import CATEGORY_SEPARATOR


class CategoryIndex:
    """Finds the items in given categories, or below them, in a time that grows with what is asked plus the catalogue.

    Every path that some item's category lies at or below is looked up once; comparing each wanted path with each
    category takes seconds where both are thousands.

    Args:
        categories: Of each item, a path whose parts are joined by ' > '; None for an item without one.
    """

    def __init__(self, categories: Sequence[str | None]) -> None:
        number: dict[str, int] = {}
        for name in categories:
            if name is not None:
                number.setdefault(name, len(number))
        within: dict[str, list[int]] = {}
        for name, place in number.items():
            for path in _paths_above(name):
                within.setdefault(path, []).append(place)
        self._within = {path: np.array(places, dtype=np.int64) for path, places in within.items()}
        # An item without a category has the number behind the last one, which nobody can want.
        self._none = len(number)
        self._of_items = np.array([self._none if name is None else number[name] for name in categories], dtype=np.int32)

    def items_within(self, wanted: Collection[str]) -> np.ndarray:
        """The items in one of the categories, or below one; a path that no item has adds none.

        Returns:
            Shape (n_items,), bool.
        """
        is_wanted = np.zeros(self._none + 1, dtype=bool)
        for path in wanted:
            if (places := self._within.get(path)) is not None:
                is_wanted[places] = True
        items: np.ndarray = is_wanted[self._of_items]
        return items


class ItemFilter:
    """The catalogue's categories and prices, in the order of its indices.

    Args:
        categories: Category paths, parts joined by ' > '; None for an item without one.
        prices: None for an item without one.
    """

    def __init__(self, categories: Sequence[str | None], prices: Sequence[float | None]) -> None:
        self._categories = CategoryIndex(categories)
        self._prices = np.array([np.nan if price is None else price for price in prices], dtype=np.float64)

    def allowed(self, categories: Collection[str] | None, max_price: float | None) -> np.ndarray | None:
        """The items in one of the categories, or below one, that cost at most `max_price`.

        An item without a category, or without a price, does not pass a filter on it.

        Returns:
            Shape (n_items,), bool; None without a filter.
        """
        if categories is None and max_price is None:
            return None
        allowed = np.ones(len(self._prices), dtype=bool)
        if categories is not None:
            allowed &= self._categories.items_within(categories)
        if max_price is not None:
            allowed &= self._prices <= max_price
        return allowed


def _paths_above(category: str) -> Iterator[str]:
    """A category's own path, and those that it lies below."""
    yield category
    end = category.find(CATEGORY_SEPARATOR)
    while end >= 0:
        yield category[:end]
        end = category.find(CATEGORY_SEPARATOR, end + 1)
