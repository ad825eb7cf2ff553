"""What a page needs to show an item."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from core import schema
from recommender.inputs.catalogue import Catalogue


class ItemCards:
    """Labels, categories, brands and prices of a catalogue, by the items' places from 0.

    As lists: a row out of an Arrow table takes a tenth of a millisecond, and every answered item needs one.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._ids, table = catalogue.ids, catalogue.table
        self.labels: list[str] = catalogue.labels
        # Of each item, equal for equal categories, -1 without one. Shape (n_items,), int32.
        self.category_codes, self.categories = _shared(table.column(schema.CATEGORY))
        _, self.brands = _shared(table.column(schema.BRAND))
        self.prices: list[float | None] = table.column(schema.PRICE).to_pylist()

    def place(self, item_id: str) -> int:
        """Where an item stands in the catalogue, from 0."""
        return self._ids.index(item_id) - 1

    def places(self, item_ids: Iterable[str]) -> list[int]:
        """Where items stand in the catalogue, from 0."""
        return [index - 1 for index in self._ids.indices(item_ids)]

    def of(self, item_id: str) -> dict[str, Any]:
        """The fields of `ListedItem` but for its score."""
        return self.at(self.place(item_id))

    def at(self, place: int) -> dict[str, Any]:
        """The same of the item at a place of the catalogue, from 0."""
        return {
            "item_id": self._ids.item_id(place + 1),
            "label": self.labels[place],
            "category": self.categories[place],
            "brand": self.brands[place],
            "price": self.prices[place],
        }


def _shared(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str | None]]:
    """A column as codes, -1 for none, and as a list in which equal texts are one object."""
    encoded = column.combine_chunks().dictionary_encode()
    codes: np.ndarray = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    texts = [*encoded.dictionary.to_pylist(), None]
    return codes, [texts[code] for code in codes.tolist()]
