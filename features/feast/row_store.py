"""What Feast's interface asks of an online store, over one that keeps whole rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from features.archive.publication import unpublish
from features.feast.rows import StoredRow, entity_of, row_for_feast, rows_from_feast


class RowStore(ABC):
    """Feast's own reads and writes of features, as reads and writes of rows.

    Attributes:
        timeout_s: How long a lock or a server is waited for, seconds; None for the store's own limit. To be set before
            the first read or write.
    """

    timeout_s: float | None = None

    # What Feast finds out by importing every other store it knows, on the first read.
    _versioned_read_supported = True

    @abstractmethod
    def read_rows(self, config: Any, view: str, entities: Sequence[str]) -> list[StoredRow | None]:
        """The whole rows of entities, None where there is none."""

    @abstractmethod
    def write_rows(self, config: Any, view: str, rows: Iterable[StoredRow], as_of_past: bool = False) -> None:
        """Write rows of the offline store, except where the stored row is newer.

        Args:
            as_of_past: Of some moment, at which not all that is known by now had happened: the newer row is that of the
                newer event, and of more events, whatever the event log's numbers say.
        """

    def views_kept(self, config: Any, views: Sequence[str]) -> list[str]:
        """Those of some views that rows can be read of: all, where a view without rows needs no table."""
        return list(views)

    def read_filling(self, config: Any) -> int:
        """The number that `note_filling` left; 0 for none, and of a store that cannot come back empty by itself."""
        return 0

    def begin_filling(self, config: Any, filling: int) -> int:
        """Note, for `note_filling` alone to find, that a refresh begins to bring in all rows; the number that it may
        get, 0 of a store that cannot come back empty by itself.
        """
        return 0

    def note_filling(self, config: Any, begun: int, before: int) -> int | None:
        """Note that a refresh has brought in all rows, for readers to find, where the store was not emptied meanwhile.

        Args:
            begun: The number that `begin_filling` noted before the first row; 0 where rows were only added.
            before: The number of the filling that the refresh found; 0 for none.
        Returns:
            What `read_filling` says from now on: `before` where that still stands there, else `begun`; None where
            neither stands there any more, and rows are lost.
        """
        return 0

    @abstractmethod
    def remove_rows(self, config: Any, views: Sequence[Any]) -> None:
        """Remove Feast's views, and all rows with them."""

    @abstractmethod
    def remove_all(self, config: Any, views: Sequence[Any]) -> None:
        """Remove everything that is kept of the shop."""

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """What Feast's `materialize` and `push` write with; `materialize` up to any moment that its user names."""
        self.write_rows(config, table.name, rows_from_feast(table.name, data), as_of_past=True)
        if progress:
            progress(len(data))

    def plan(self, config: Any, desired_registry_proto: Any) -> list[Any]:
        """What Feast would have to make: nothing, `update` does."""
        return []

    def drop(self, config: Any, views: Sequence[Any]) -> None:
        """Remove views that Feast's user deletes. What is published is not online then: the next refresh rebuilds."""
        if views:
            unpublish(Path(str(config.repo_path)))
            self.remove_rows(config, views)

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """What Feast's `teardown` calls. The next refresh rebuilds everything."""
        unpublish(Path(str(config.repo_path)))
        _remove_versions(config)
        self.remove_all(config, tables)

    def online_read(
        self, config: Any, table: Any, entity_keys: list[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """What Feast's `get_online_features` reads with."""
        rows = self.read_rows(config, table.name, [entity_of(key) for key in entity_keys])
        return [row_for_feast(table.name, row, requested_features) for row in rows]


def _remove_versions(config: Any) -> None:
    """Feast's SQL registry keeps a project's versions of views as it removes the project; the next apply then fails."""
    if config.registry.registry_type != "sql":
        return
    from feast.infra.registry.sql import feature_view_version_history as versions
    from sqlalchemy import create_engine, delete

    engine = create_engine(config.registry.path)
    with engine.begin() as connection:
        connection.execute(delete(versions).where(versions.c.project_id == config.project))
    engine.dispose()
