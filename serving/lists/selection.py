"""Which items of the catalogue a request means: by category, brand, price, stock or any attribute, as masks."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa

from core import schema
from recommender.inputs.catalogue import Catalogue
from serving.api.criteria import AttributeFilter, ItemCriteria, ItemMatch
from serving.errors import BadRequest, CapabilityMissing
from serving.filters import ItemFilter

STOCK = "in_stock"
_OUT_OF_STOCK = ("", "0", "false", "no", "out of stock", "out_of_stock", "sold out", "none")
_KNOWN_SHOWN = 40
# A decimal number as files have it; Python reads more: 1_000, other scripts' digits, words.
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
# Columns that are kept as arrays between requests.
_COLUMNS_KEPT = 64


class ItemSelection:
    """The catalogue's columns, ready to be asked. Safe to share between threads.

    Args:
        catalogue: Of the bundle in service.
        model: The bundle, for the sentences of errors.
    """

    def __init__(self, catalogue: Catalogue, model: str) -> None:
        self._catalogue, self._model, self._ids = catalogue, model, catalogue.ids
        self._columns = catalogue.attributes
        table = catalogue.table
        categories, prices = (table.column(name).to_pylist() for name in (schema.CATEGORY, schema.PRICE))
        self._filter = ItemFilter(categories, prices)
        self._prices = np.array([np.nan if price is None else price for price in prices], dtype=np.float64)
        self._texts = lru_cache(_COLUMNS_KEPT)(self._read_texts)
        self._numbers = lru_cache(_COLUMNS_KEPT)(self._read_numbers)

    @property
    def names(self) -> list[str]:
        """The attributes that filters may name."""
        return sorted(self._columns)

    def of(self, wanted: ItemCriteria) -> np.ndarray | None:
        """The items that meet everything that is wanted.

        Returns:
            Shape (n_items,), bool; None where nothing is wanted.
        Raises:
            BadRequest: an attribute is unknown, or no value of it is a number and a range is wanted.
            CapabilityMissing: the catalogue does not say what is in stock.
        """
        if not wanted.criteria:
            return None
        found = self._filter.allowed(wanted.categories, wanted.max_price)
        allowed = np.ones(len(self._ids), dtype=bool) if found is None else found
        if wanted.min_price is not None:
            allowed &= self._prices >= wanted.min_price
        if wanted.brands is not None:
            allowed &= self._is_one_of(schema.BRAND, wanted.brands)
        if wanted.in_stock is not None:
            allowed &= self._stock(wanted.in_stock)
        for number, attribute in enumerate(wanted.attributes):
            allowed &= self._attribute(attribute, f"attributes.{number}")
        return allowed

    def matched(self, wanted: ItemMatch) -> np.ndarray:
        """The items that a rule means. Shape (n_items,), bool.

        Raises:
            BadRequest, CapabilityMissing: as `of`.
        """
        by_criteria = self.of(wanted)
        if wanted.items is None:
            assert by_criteria is not None
            return by_criteria
        matched = self.listed(wanted.items)
        return matched if by_criteria is None else matched & by_criteria

    def listed(self, item_ids: Collection[str]) -> np.ndarray:
        """The items of a list of ids; unknown ones are no error. Shape (n_items,), bool."""
        mask = np.zeros(len(self._ids), dtype=bool)
        mask[[index - 1 for index in self._ids.known_indices(item_ids)]] = True
        return mask

    def _attribute(self, wanted: AttributeFilter, where: str) -> np.ndarray:
        if wanted.name not in self._columns:
            shown = ", ".join(self.names[:_KNOWN_SHOWN])
            more = f" and {len(self.names) - _KNOWN_SHOWN} more" if len(self.names) > _KNOWN_SHOWN else ""
            raise BadRequest(
                "Cannot filter",
                got=f"{where}.name={wanted.name!r}",
                expected=f"an attribute of the catalogue: {shown}{more}",
                do="Name one of these",
            )
        if wanted.min is None and wanted.max is None:
            values: Sequence[str | float] = [wanted.equals] if wanted.any_of is None else wanted.any_of  # type: ignore[list-item]
            return self._is_one_of(wanted.name, values)
        numbers = self._numbers(wanted.name)
        if numbers is None:
            raise BadRequest(
                "Cannot filter",
                got=f"{where}.name={wanted.name!r}, of which no value is a number, with min or max",
                expected="an attribute of numbers",
                do="Use equals or any_of",
            )
        low, high = (-np.inf if wanted.min is None else wanted.min), (np.inf if wanted.max is None else wanted.max)
        within: np.ndarray = (numbers >= low) & (numbers <= high)
        return within

    def _is_one_of(self, name: str, values: Sequence[str | float]) -> np.ndarray:
        """A number is equal to the text that reads as it: the shop's own attributes are texts."""
        codes, codes_of = self._texts(name)
        found = np.isin(codes, [codes_of[text] for text in values if isinstance(text, str) and text in codes_of])
        wanted = [float(value) for value in values if not isinstance(value, str)]
        numbers = self._numbers(name) if wanted else None
        if numbers is not None:
            found |= np.isin(numbers, wanted)
        return found

    def _stock(self, wanted: bool) -> np.ndarray:
        if STOCK not in self._columns:
            raise CapabilityMissing(
                "Cannot filter by stock",
                got=f"model={self._model}, whose catalogue has no attribute {STOCK}",
                expected=f"a column {STOCK} in the shop's items table",
                do="Add the column and run the pipeline again, or leave out in exclude what has sold out",
            )
        codes, codes_of = self._texts(STOCK)
        out = [code for text, code in codes_of.items() if text.strip().lower() in _OUT_OF_STOCK]
        numbers = self._numbers(STOCK)
        is_known = codes >= 0
        is_out = np.isin(codes, out)
        if numbers is not None:
            is_out |= numbers <= 0
        found: np.ndarray = is_known & (~is_out if wanted else is_out)
        return found

    def _read_texts(self, name: str) -> tuple[np.ndarray, dict[str, int]]:
        """A code for each item's value as text, -1 without one, and the code of each text."""
        encoded = self._columns[name].cast(pa.string()).dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return codes, {text: code for code, text in enumerate(encoded.dictionary.to_pylist())}

    def _read_numbers(self, name: str) -> np.ndarray | None:
        """Each item's value as a number, NaN where it has none or another kind; None where no value is a number."""
        column = self._columns[name]
        if pa.types.is_primitive(column.type) and not pa.types.is_temporal(column.type):
            numbers: np.ndarray = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return numbers
        codes, codes_of = self._texts(name)
        # The last one is that of code -1.
        found = np.array([*map(_number, codes_of), np.nan])
        return None if codes_of and np.isnan(found).all() else found[codes]


def _number(text: str) -> float:
    """A text as a number; NaN of any other."""
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    return number if math.isfinite(number) else math.nan
