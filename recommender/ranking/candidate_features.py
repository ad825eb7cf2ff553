"""What a correction of the blend sees of a candidate: the parts' scores and ranks, and features of user, item and pair.

The features are those that the feature store counts, as of the moment of asking: a training query and a request are
read by this one class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core import schema
from recommender.inputs.item_moments import NUMBERS, CountedItems, ItemColumns
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState

# Counts and times span magnitudes: their logarithms are read.
_LOGGED_ITEM = tuple(
    name for name in NUMBERS if name.startswith("item_n_") or name in ("item_age_days", "item_recency_days")
)
_PLAIN_ITEM = tuple(name for name in NUMBERS if name not in (*_LOGGED_ITEM, "item_price"))
_BY_CATALOGUE = ("item_price", "item_age_days")
_LOGGED_USER = (
    *(name for name in schema.USER_FEATURES if name.startswith("n_")),
    "recency_days", "tenure_days", "events_per_active_day",
)  # fmt: skip
_PLAIN_USER = ("mean_rating", "rating_std", "click_rate", "conversion_rate")
_PAIR = ("category_share", "brand_share", "price_gap", "rating_gap", "item_log_price", "is_cold")


class Describer:
    """Describes candidates of one catalogue.

    Args:
        vectors: Catalogue and ids.
        unlearned: Of which items no event taught anything. Shape (n_items,), bool.
        parts: Whose scores and ranks are read.
        held_out: Items that are described as if they had no events; none by default. Shape (n_items,), bool.
    """

    def __init__(
        self,
        vectors: ItemVectors,
        unlearned: np.ndarray,
        parts: Sequence[str],
        held_out: np.ndarray | None = None,
    ) -> None:
        self._ids, self._unlearned, self._parts = vectors.ids, unlearned.astype(np.float64), tuple(parts)
        self._held_out = np.zeros_like(unlearned) if held_out is None else held_out
        self._cut_off = CountedItems(vectors.catalogue.table).of(vectors.ids)
        self._n_windows = self._cut_off.popularity.shape[1]
        table = vectors.catalogue.table
        self._categories, self._brands = (
            _places_by(table.column(name).to_pylist()) for name in (schema.CATEGORY, schema.BRAND)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, in their order."""
        return (
            *self._parts, *(f"{part}_rank" for part in self._parts), "history_length", *_LOGGED_USER, *_PLAIN_USER,
            *_LOGGED_ITEM, *_PLAIN_ITEM, *(f"item_popularity_{n + 1}" for n in range(self._n_windows)), *_PAIR,
        )  # fmt: skip

    def describe(self, user: UserState, length: int, places: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """One user's candidates.

        Args:
            length: Known items of the history.
            places: Of the candidates in the catalogue, from 0. Shape (C,).
            scores: What the parts make of them, standardised. Shape (C, P).
        Returns:
            Shape (C, F), float32; NaN where nothing is known.
        """
        # What stands higher has the lower rank; equal scores by their place.
        ranks = np.argsort(np.argsort(-scores, axis=0, kind="stable"), axis=0)
        columns: ItemColumns = self._cut_off if user.items_then is None else user.items_then.of(self._ids)
        items, popularity = columns.numbers(places), columns.popularity[places, : self._n_windows]
        without = self._held_out[places]
        if without.any():
            items = {name: np.where(without, _without_events(name, values), values) for name, values in items.items()}
            popularity = np.where(without[:, None], 0.0, popularity)
        own = [length, *(_number(user.features.get(name)) for name in _LOGGED_USER)]
        plain = [_number(user.features.get(name)) for name in _PLAIN_USER]
        about_user = np.concatenate([np.log1p(np.maximum(own, 0.0)), plain])
        found = np.column_stack(
            [
                scores,
                np.log1p(ranks),
                np.tile(about_user, (len(places), 1)),
                *(np.log1p(np.maximum(items[name], 0.0)) for name in _LOGGED_ITEM),
                *(items[name] for name in _PLAIN_ITEM),
                np.log1p(popularity),
                *self._pairs(user.features, places, items),
            ]
        )
        return found.astype(np.float32)

    def _pairs(
        self, features: Mapping[str, Any], places: np.ndarray, items: Mapping[str, np.ndarray]
    ) -> list[np.ndarray]:
        """In the order of `_PAIR`."""
        usual = _number(features.get("mean_price"))
        price = np.log(np.where(items["item_price"] > 0, items["item_price"], np.nan))
        return [
            self._shares(features, "top_categories", "category_shares", self._categories)[places],
            self._shares(features, "top_brands", "brand_shares", self._brands)[places],
            price - (np.log(usual) if usual > 0 else np.nan),
            items["item_mean_rating"] - _number(features.get(schema.MEAN_RATING)),
            price,
            self._unlearned[places],
        ]

    def _shares(
        self, features: Mapping[str, Any], names: str, shares: str, places_by: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Of each item, the share of the user's events in its category or brand, 0 for none. Shape (n_items,)."""
        found = np.zeros(len(self._ids))
        for name, share in zip(features.get(names) or (), features.get(shares) or (), strict=True):
            if name in places_by:
                found[places_by[name]] = share
        return found


def _without_events(name: str, values: np.ndarray) -> np.ndarray:
    """A feature of items as if they had no events: what the catalogue says of them stays."""
    if name in _BY_CATALOGUE:
        return values
    return np.full_like(values, 0.0 if name.startswith("item_n_") else np.nan)


def _places_by(values: list[str | None]) -> dict[str, np.ndarray]:
    """The places of the items of each category or brand."""
    found: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            found.setdefault(value, []).append(place)
    return {value: np.array(places) for value, places in found.items()}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
