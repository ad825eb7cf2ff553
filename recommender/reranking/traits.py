"""What re-ranking looks at in the items: their categories, and how little was seen of them so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core import schema
from core.settings.reranking import RerankSettings
from recommender.inputs.catalogue import Catalogue

NOT_KNOWN = -1


@dataclass(frozen=True)
class ItemTraits:
    """Of every item, in the order of the ids.

    Attributes:
        has_words: Whether an item has any. Shape (n_items,), bool.
        categories: Number of the category, -1 without one. Shape (n_items,), int64.
        taken: How the training events fall to the categories; sums to 1, or zeros. Shape (n_categories,), float64.
        rare_items: Whether an item is under-exposed. Shape (n_items,), bool.
        rare_providers: Whether its provider is; never without one. Shape (n_items,), bool.
        n_providers: How many providers there are.
    """

    has_words: np.ndarray
    categories: np.ndarray
    taken: np.ndarray
    rare_items: np.ndarray
    rare_providers: np.ndarray
    n_providers: int

    @classmethod
    def of(cls, catalogue: Catalogue, category_levels: int, under_exposed: float) -> ItemTraits:
        """Read the catalogue as of the training cut-off; see `RerankSettings` for the two settings."""
        table, n_events = catalogue.table, catalogue.n_events.astype(np.float64)
        paths = [shorten_category(path, category_levels) for path in table.column(schema.CATEGORY).to_pylist()]
        categories, providers = numbered(paths), numbered(table.column(schema.BRAND).to_pylist())
        known = providers != NOT_KNOWN
        of_provider = np.bincount(providers[known], weights=n_events[known])
        rare_providers = np.zeros(len(providers), dtype=bool)
        rare_providers[known] = under_exposed_of(of_provider, under_exposed)[providers[known]]
        return cls(
            has_words=np.array([bool(text.strip()) for text in catalogue.texts], dtype=bool),
            categories=categories,
            taken=_shares(categories, n_events),
            rare_items=under_exposed_of(n_events, under_exposed),
            rare_providers=rare_providers,
            n_providers=len(of_provider),
        )

    @classmethod
    def by(cls, settings: RerankSettings, catalogue: Catalogue) -> ItemTraits:
        """As the settings part the items."""
        return cls.of(catalogue, settings.category_levels, settings.under_exposed)

    def taste(self, history: Sequence[int]) -> np.ndarray:
        """How a history falls to the categories; of one that names none, how everybody's events do.

        Args:
            history: Item indices, from 1.
        Returns:
            Shape (n_categories,), float64; zeros where no item has a category.
        """
        rows = np.array(history, dtype=np.int64) - 1
        shares = _shares(self.categories[rows], np.ones(len(rows)), len(self.taken))
        return shares if shares.any() else self.taken


def shorten_category(path: str | None, levels: int) -> str | None:
    """The leading parts of a category.

    >>> shorten_category("Cheese > Hard > Old", 2)
    'Cheese > Hard'
    """
    return None if not path else schema.CATEGORY_SEPARATOR.join(path.split(schema.CATEGORY_SEPARATOR)[:levels])


def numbered(names: Sequence[str | None]) -> np.ndarray:
    """A number for each distinct name, in their order; -1 for none. Shape (n,), int64."""
    number = {name: place for place, name in enumerate(sorted({name for name in names if name}))}
    return np.array([number[name] if name else NOT_KNOWN for name in names], dtype=np.int64)


def under_exposed_of(n_events: np.ndarray, share: float) -> np.ndarray:
    """Which have so few events that they, and all with as few or fewer, have at most a share of all events.

    Args:
        n_events: Shape (n,).

    >>> under_exposed_of(np.array([0, 1, 1, 8]), 0.2).tolist()
    [True, True, True, False]
    >>> under_exposed_of(np.array([1, 1, 1, 1]), 0.2).tolist()
    [False, False, False, False]
    """
    values, of_item = np.unique(n_events, return_inverse=True)
    upto = np.cumsum(values * np.bincount(of_item))
    few: np.ndarray = (upto <= share * max(float(n_events.sum()), 1.0))[of_item]
    return few


def _shares(categories: np.ndarray, weights: np.ndarray, n_categories: int | None = None) -> np.ndarray:
    known = categories != NOT_KNOWN
    if n_categories is None:
        n_categories = int(categories.max(initial=NOT_KNOWN)) + 1
    counts = np.bincount(categories[known], weights=weights[known], minlength=n_categories)
    return counts / max(float(counts.sum()), 1e-12)
