"""What Feast's interface asks of an online store, over one that keeps whole rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from features.feast.rows import StoredRow, entity_of, row_for_feast, rows_from_feast


class RowStore(ABC):
    """Feast's own reads and writes of features, as reads and writes of rows."""

    # What Feast finds out by importing every other store it knows, on the first read.
    _versioned_read_supported = True

    @abstractmethod
    def read_rows(self, config: Any, view: str, entities: Sequence[str]) -> list[StoredRow | None]:
        """The whole rows of entities, None where there is none."""

    @abstractmethod
    def write_rows(self, config: Any, view: str, rows: Iterable[StoredRow]) -> None:
        """Write rows of the offline store, except where the stored row is newer."""

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """What Feast's `materialize` and `push` write with."""
        self.write_rows(config, table.name, rows_from_feast(table.name, data))
        if progress:
            progress(len(data))

    def online_read(
        self, config: Any, table: Any, entity_keys: list[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """What Feast's `get_online_features` reads with."""
        rows = self.read_rows(config, table.name, [entity_of(key) for key in entity_keys])
        return [row_for_feast(table.name, row, requested_features) for row in rows]
