"""The items as the feature store knows them at one moment: as a window opens, as a request comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from core import schema
from core.schema import Window
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.ids import IdMap

POPULARITY = "item_popularity"
NUMBERS = tuple(name for name in schema.ITEM_FEATURES if name != POPULARITY)


@dataclass(frozen=True)
class ItemColumns:
    """Features of a catalogue's items at one moment, in the order of its ids; NaN without a value.

    Attributes:
        popularity: Events in each recent window, the shortest first. Shape (n_items, n_windows).
        numbers: From places in the catalogue, from 0, to each feature of `NUMBERS` of those items. Shapes (N,).
    """

    popularity: np.ndarray
    numbers: Callable[[np.ndarray], Mapping[str, np.ndarray]]


class ItemsThen(Protocol):
    """The items at one moment."""

    def of(self, ids: IdMap) -> ItemColumns:
        """Those of a catalogue; an item that the feature store does not know has none."""
        ...

    @property
    def day(self) -> int:
        """The day of the moment, since 1970, on which the windows end."""
        ...

    def counts_at(self, ids: IdMap, places: np.ndarray) -> np.ndarray:
        """`ItemColumns.popularity` of some places alone. Shape (N, n_windows)."""
        ...


class CountedItems:
    """The items of a table with `schema.ITEM_FEATURES`."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._aligned: tuple[IdMap, ItemColumns] | None = None

    def of(self, ids: IdMap) -> ItemColumns:
        """See `ItemsThen`."""
        if self._aligned is None or self._aligned[0] is not ids:
            self._aligned = ids, self._align(ids)
        return self._aligned[1]

    @property
    def day(self) -> int:
        """See `ItemsThen`: 0, as there is but one moment."""
        return 0

    def counts_at(self, ids: IdMap, places: np.ndarray) -> np.ndarray:
        """See `ItemsThen`."""
        counts: np.ndarray = self.of(ids).popularity[places]
        return counts

    def _align(self, ids: IdMap) -> ItemColumns:
        row_of = {item_id: row for row, item_id in enumerate(self._table.column(schema.ITEM_ID).to_pylist())}
        table = self._table.take(pa.array([row_of.get(item_id) for item_id in ids], pa.int64()))
        columns = {name: _numbers(table.column(name)) for name in NUMBERS}

        def numbers(places: np.ndarray) -> dict[str, np.ndarray]:
            return {name: values[places] for name, values in columns.items()}

        return ItemColumns(window_counts(table.column(POPULARITY).to_pylist()), numbers)


def window_counts(rows: list[Any]) -> np.ndarray:
    """Lists of counts, None for none, as a matrix. Shape (n, n_windows), float64."""
    n_windows = max((len(counts or ()) for counts in rows), default=0)
    return np.array([counts or [0] * n_windows for counts in rows], dtype=np.float64).reshape(len(rows), n_windows)


def read_items_then(training: Path, window: Window) -> CountedItems | None:
    """The items when a window of queries opened; None where the training set does not have them.

    A leave-one-out protocol has no moment at which all of its queries are asked.

    Raises:
        TrainingDataError: the table is damaged.
    """
    if not (training / "items_then.parquet").exists():
        return None
    table = read_training_table(training, "items_then")
    kept = pa.compute.equal(table.column(schema.SPLIT), window)
    return CountedItems(table.filter(kept))


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = column.cast(pa.float64()).to_numpy()
    return values
