"""Which items of the catalogue a request allows: by category and price, as a mask for every ranker."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from core.schema import CATEGORY_SEPARATOR


class ItemFilter:
    """The catalogue's categories and prices, in the order of its indices.

    Args:
        categories: Category paths, parts joined by ' > '; None for an item without one.
        prices: None for an item without one.
    """

    def __init__(self, categories: Sequence[str | None], prices: Sequence[float | None]) -> None:
        names = sorted({category for category in categories if category is not None})
        number = {name: place for place, name in enumerate(names)}
        self._names = names
        self._categories = np.array([-1 if name is None else number[name] for name in categories], dtype=np.int64)
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
            within = [place for place, name in enumerate(self._names) if _lies_within(name, categories)]
            allowed &= np.isin(self._categories, within)
        if max_price is not None:
            allowed &= self._prices <= max_price
        return allowed


def _lies_within(category: str, wanted: Collection[str]) -> bool:
    return any(category == one or category.startswith(one + CATEGORY_SEPARATOR) for one in wanted)
