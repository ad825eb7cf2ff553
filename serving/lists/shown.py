"""The catalogue as it is shown: the bundle's, and above it what clients said of its items since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from core import schema
from core.overrides import Override
from recommender.inputs.catalogue import Catalogue
from serving.lists.cards import ItemCards
from serving.lists.making import ListMaker
from serving.lists.selection import ItemSelection

# What clients say of these counts at once; what models read of an item is as the bundle learned it.
_SHOWN = (schema.TITLE, schema.CATEGORY, schema.BRAND, schema.PRICE)


class ShownCatalogue:
    """One state of it; never changes. Safe to share between threads.

    Attributes:
        cards: What a page needs to show an item.
        maker: Makes lists of it.

    Args:
        catalogue: Of the bundle, with the values that are shown; an attribute too.
        model: The bundle, for the sentences of errors.
        hidden: Items that may not be shown. Shape (n_items,), bool; None where all may.
    """

    def __init__(self, catalogue: Catalogue, model: str, hidden: np.ndarray | None = None) -> None:
        self.catalogue = catalogue
        self.cards = ItemCards(catalogue)
        self.maker = ListMaker(catalogue.ids, ItemSelection(catalogue, model), catalogue.n_events, hidden)


class LiveCatalogue:
    """The catalogue of one bundle, kept at what clients said last.

    Attributes:
        catalogue: The bundle's own.
        now: The state of this moment: read it once per request.
        version: Of the last change that was taken in.
        generation: Of the file that the version counts in.

    Args:
        catalogue: Of the bundle.
        model: The bundle.
    """

    def __init__(self, catalogue: Catalogue, model: str) -> None:
        self.catalogue, self._model = catalogue, model
        self._said: dict[str, Override] = {}
        self.now = ShownCatalogue(catalogue, model)
        self.version = self.generation = 0

    def follow(self, changes: Iterable[Override], generation: int = 0) -> bool:
        """Take changes in, in their order; the next request sees all of them. For one thread.

        Args:
            generation: Of the file that they are of; of another than before, they count alone.
        Returns:
            Whether anything of this catalogue changed.
        """
        is_other = generation != self.generation
        known, version = ({}, 0) if is_other else (self._said, self.version)
        relevant: dict[str, Override] = {}
        for one in changes:
            version = max(version, one.version)
            if one.id in self.catalogue.ids:
                relevant[one.id] = one
        if not relevant and not is_other:
            self.version = version
            return False
        said = {**known, **relevant}
        hidden = np.zeros(len(self.catalogue), dtype=bool)
        for item_id, one in said.items():
            hidden[self.catalogue.ids.index(item_id) - 1] = one.is_hidden
        shown = Catalogue(_with_values(self.catalogue, said), self.catalogue.ids)
        # References are assigned whole: a request has the state before or the one after.
        self._said, self.now = said, ShownCatalogue(shown, self._model, hidden if hidden.any() else None)
        # Last: what could not be made is made with the next changes, or when it is asked for again.
        self.version, self.generation = version, generation
        return True


def _with_values(catalogue: Catalogue, said: Mapping[str, Override]) -> pa.Table:
    """The catalogue's rows with the values and attributes that clients set."""
    table = catalogue.table
    placed = {catalogue.ids.index(item_id) - 1: one for item_id, one in said.items() if one.says_something}
    for name in _SHOWN:
        values = {place: one.fields[name] for place, one in placed.items() if name in one.fields}
        if values:
            column = table.column(name).to_pylist()
            for place, value in values.items():
                column[place] = value
            table = _with_column(table, name, pa.array(column, table.schema.field(name).type))
    attributes = {place: one.attributes for place, one in placed.items() if one.attributes}
    if not attributes:
        return table
    is_there = schema.ITEM_ATTRIBUTES in table.column_names  # not in a bundle of an earlier release
    own = table.column(schema.ITEM_ATTRIBUTES).to_pylist() if is_there else [None] * len(table)
    for place, given in attributes.items():
        own[place] = [*{**dict(own[place] or ()), **given}.items()]
    return _with_column(table, schema.ITEM_ATTRIBUTES, pa.array(own, pa.map_(pa.string(), pa.string())))


def _with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)
