"""The catalogue as it stood at the training cut-off: names, texts and counts of every item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core import schema
from core.storage import atomic_file
from recommender.errors import TrainingDataError
from recommender.inputs.ids import IdMap
from recommender.inputs.texts import shorten, tidy

CATALOGUE_FILE = "catalogue.parquet"
LABEL_CHARS = 80


@dataclass(frozen=True)
class Catalogue:
    """The rows of the catalogue in the order of `ids`: the item with index i is row i - 1."""

    table: pa.Table
    ids: IdMap

    @classmethod
    def from_table(cls, table: pa.Table, seed: int) -> Catalogue:
        """Take a training set's catalogue and give its items indices.

        Raises:
            TrainingDataError: no items, or an item listed twice.
        """
        listed = table.column(schema.ITEM_ID).to_pylist()
        ids = IdMap.shuffled(listed, seed)
        if not listed or len(ids) != len(listed):
            raise TrainingDataError(
                "Cannot read catalogue",
                got=f"rows={len(listed)}, distinct item_ids={len(ids)}",
                expected="every item once, at least one",
                do="Build the training set again",
            )
        row_of = {item_id: row for row, item_id in enumerate(listed)}
        return cls(table.take(pa.array([row_of[item_id] for item_id in ids])), ids)

    @classmethod
    def read(cls, training: Path, seed: int) -> Catalogue:
        """Read `catalogue.parquet` of a training folder.

        Raises:
            TrainingDataError: the file is missing, unreadable or lacks a column.
        """
        return cls.from_table(read_training_table(training, "catalogue"), seed)

    def save(self, path: Path) -> None:
        """Write the rows, in the order of the indices."""
        with atomic_file(path) as temporary:
            pq.write_table(self.table, temporary)

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Read what `save` wrote; the order of the rows gives the indices."""
        table = pq.read_table(path)
        return cls(table, IdMap(tuple(table.column(schema.ITEM_ID).to_pylist())))

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, item_id: str) -> dict[str, Any]:
        """All columns of one item.

        Raises:
            UnknownItem: the item is not in the catalogue.
        """
        row: dict[str, Any] = self.table.slice(self.ids.index(item_id) - 1, 1).to_pylist()[0]
        return row

    def label(self, item_id: str, text: str | None = None) -> str:
        """What to call an item: its title, else the start of its text, else its id; an unknown item is its id.

        Args:
            text: In the place of its text.
        """
        if item_id not in self.ids:
            return item_id
        place = self.ids.index(item_id) - 1
        return self.labels[place] if text is None else label_of(self._titles[place], text, item_id)

    def text(self, item_id: str) -> str:
        """What language models read of an item; empty where the shop gives no words.

        Raises:
            UnknownItem: the item is not in the catalogue.
        """
        return self.texts[self.ids.index(item_id) - 1]

    @cached_property
    def kinds(self) -> list[tuple[str, ...]]:
        """Brand and category of each item, those that are known, in the catalogue's order."""
        columns = (self.table.column(name).to_pylist() for name in (schema.BRAND, schema.CATEGORY))
        return [tuple(dict.fromkeys(tidy(name) for name in names if name)) for names in zip(*columns, strict=True)]

    @cached_property
    def labels(self) -> list[str]:
        """`label` of all items, in the order of the indices."""
        return [label_of(*row) for row in zip(self._titles, self.texts, self.ids, strict=True)]

    @cached_property
    def _titles(self) -> list[str | None]:
        return list(self.table.column(schema.TITLE).to_pylist())

    @cached_property
    def texts(self) -> list[str]:
        """`text` of all items, in the order of the indices."""
        return [text or "" for text in self.table.column(schema.ITEM_TEXT).to_pylist()]

    @cached_property
    def attributes(self) -> dict[str, pa.Array]:
        """What may be asked of an item, by name: every column of single values but its id and its text, and the shop's
        own attributes, as text.
        """
        own = self._own_attributes() if schema.ITEM_ATTRIBUTES in self.table.column_names else {}
        columns = {
            field.name: self.table.column(field.name).combine_chunks()
            for field in self.table.schema
            if field.name not in (schema.ITEM_ID, schema.ITEM_TEXT) and not pa.types.is_nested(field.type)
        }
        return own | columns

    def _own_attributes(self) -> dict[str, pa.Array]:
        maps = self.table.column(schema.ITEM_ATTRIBUTES).combine_chunks()
        offsets = maps.offsets.to_numpy()
        names, values = (part[offsets[0] : offsets[-1]] for part in (maps.keys, maps.items))
        rows = np.repeat(np.arange(len(maps)), np.diff(offsets))
        found = {}
        for name in pc.unique(names).to_pylist():
            places = np.flatnonzero(pc.equal(names, name).to_numpy(zero_copy_only=False))
            taken = np.full(len(self.table), -1, dtype=np.int64)
            taken[rows[places]] = places
            found[name] = values.take(pa.array(taken, mask=taken < 0))
        return found

    @property
    def n_events(self) -> np.ndarray:
        """Training events of each item, in the order of the indices. Shape (n_items,), float32."""
        counts = self.table.column(schema.ITEM_N_EVENTS).to_numpy(zero_copy_only=False)
        return np.nan_to_num(counts.astype(np.float32))


def label_of(title: str | None, text: str, item_id: str) -> str:
    """What to call an item; see `Catalogue.label`."""
    return title or shorten(text, LABEL_CHARS) or item_id


def read_training_table(training: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """Read one table of a training set, with the types of `schema.TRAINING_TABLES`.

    Args:
        training: The folder of the training set.
        name: A key of `schema.TRAINING_TABLES`.
        columns: Those to read; all of the contract's by default.
    Raises:
        TrainingDataError: the file is missing, unreadable or lacks a column.
    """
    path = training / f"{name}.parquet"
    wanted = schema.TRAINING_TABLES[name]
    if columns is not None:
        wanted = pa.schema([wanted.field(column) for column in columns])
    try:
        table = pq.read_table(path, columns=wanted.names)
        return table.select(wanted.names).cast(wanted)
    except (OSError, KeyError, pa.ArrowException, ValueError) as error:
        raise TrainingDataError(
            "Cannot read training set",
            got=f"table={name}",
            expected=f"the columns {', '.join(wanted.names)}, but {error}",
            where=str(path),
            do="Build the training set again",
        ) from error
