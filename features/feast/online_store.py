"""Feast's SQLite online store with one row per entity and view, made safe for many threads and processes.

Feast's own writes a row per feature, lets an older event overwrite a newer one, keeps times by the second, and has one
connection for all threads, through which a reader sees rows half written. Here a row is replaced whole, by one that
supersedes it; merging an event reads, merges and writes within one transaction. Named by its dotted path in the
store's configuration; Feast's own reads and writes go through it as well.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig, _initialize_conn

from core.logs.wal import enter_wal, scrub
from features.feast.row_store import RowStore
from features.feast.rows import Merge, StoredRow, in_pages, newer_of
from features.feast.store_types import SQLITE_ONLINE

_BUSY_TIMEOUT_MS = 30_000
_ROWS_PER_TRANSACTION = 1000
_COLUMNS = "entity, served, sketch, newest_us, n_events, sequence"


class RowSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """The configuration of `RowSqliteOnlineStore`."""

    type: Literal["features.feast.online_store.RowSqliteOnlineStore"] = SQLITE_ONLINE


class RowSqliteOnlineStore(RowStore, SqliteOnlineStore):
    """A table per view: the entity, its row in two texts, what decides which row is newer, and the number of the
    change that wrote it. The table `changes` counts changes per view, so that a reader who keeps a copy of a view
    finds out what to read again. Every thread has a connection of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._of_thread = threading.local()

    def read_rows(self, config: Any, view: str, entities: Sequence[str]) -> list[StoredRow | None]:
        """The whole rows of entities, None where there is none."""
        return _read(self._get_conn(config), view, entities)

    def views_kept(self, config: Any, views: Sequence[str]) -> list[str]:
        """See `RowStore`; a view that Feast's user deleted has no table until the next refresh."""
        tables = self._get_conn(config).execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return [view for view in views if (view,) in tables]

    def read_served(self, config: Any, views: Sequence[str], entity: str, counted: str) -> tuple[list[Any], int, int]:
        """What requests read of one entity, view by view, the newest change of the view `counted`, and
        `read_filling`; in one go.
        """
        parts = [f"(SELECT served FROM {view} WHERE entity = ?1)" for view in views]
        statement = f"SELECT {', '.join(parts)}, (SELECT n FROM changes WHERE view = ?2)"
        *served, change = self._get_conn(config).execute(statement, (entity, counted)).fetchone()
        return served, change or 0, 0

    def read_changes(self, config: Any, view: str, after: int) -> Iterable[tuple[str, str | None, int]]:
        """(entity, served, number of the change) of rows that changed since the change `after`, oldest first; read as
        they are asked for.

        A row that was removed has None in the place of `served`.
        """
        statement = f"""
        SELECT entity, served, change FROM {view} WHERE change > ?1
        UNION ALL SELECT entity, NULL, change FROM removed WHERE view = ?2 AND change > ?1 ORDER BY change"""
        return self._get_conn(config).execute(statement, (after, view))

    def settle(self, config: Any, sequence: int) -> None:
        """Note up to where the event log is settled, and see that all that was written before is on the disk.

        An entity without a row has none of the log's events up to there: a late push does not bring them back.
        """
        connection = self._get_conn(config)
        # In WAL the commit that waits for the disk takes along all those before it.
        connection.execute("PRAGMA synchronous = FULL")
        try:
            connection.execute(_SETTLE, (sequence,))
        finally:
            connection.execute("PRAGMA synchronous = NORMAL")

    def write_rows(self, config: Any, view: str, rows: Iterable[StoredRow], as_of_past: bool = False) -> None:
        """See `RowStore.write_rows`."""
        # In slices, so that materialising a whole shop never keeps a push of one user waiting for long.
        for page in in_pages(rows, _ROWS_PER_TRANSACTION):
            self.update_rows(config, view, [row.entity for row in page], _take_newer(page, as_of_past))

    def update_rows(self, config: Any, view: str, entities: Sequence[str], merge: Merge) -> None:
        """Read rows, let `merge` make new ones, and write those, in one transaction; None leaves a row as it is."""
        connection = self._get_conn(config)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            old, settled = _read(connection, view, entities), _settled(connection)
            new = [merge(entity, row, settled) for entity, row in zip(entities, old, strict=True)]
            changed = [row for row in new if row is not None]
            if not changed:
                return
            change = _count_change(connection, view)
            connection.executemany(
                "DELETE FROM removed WHERE view = ? AND entity = ?", [(view, row.entity) for row in changed]
            )
            connection.executemany(
                f"INSERT OR REPLACE INTO {view} ({_COLUMNS}, change) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (row.entity, row.served, row.sketch, row.newest_us, row.n_events, row.sequence, change)
                    for row in changed
                ],
            )

    def forget_others(self, config: Any, view: str, kept: Sequence[str], sequence: int) -> None:
        """Remove rows of entities that are gone, but for those with pushes later than `sequence`."""
        connection = self._get_conn(config)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (entity TEXT PRIMARY KEY)")
            connection.execute("DELETE FROM kept")
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((entity,) for entity in kept))
            _remove(connection, view, f"sequence <= {int(sequence)} AND entity NOT IN (SELECT entity FROM kept)")

    def forget(self, config: Any, view: str, entities: Sequence[str], sequence: int) -> None:
        """Remove the rows of these entities, but for those with pushes later than `sequence`."""
        connection = self._get_conn(config)
        for page in in_pages(entities, 500):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                marks = ", ".join("?" * len(page))
                _remove(connection, view, f"sequence <= {int(sequence)} AND entity IN ({marks})", page)

    def erase(self, config: Any, views: Sequence[str], entities: Sequence[str]) -> int:
        """Remove all that is kept of entities, their names and what is left in free pages too; how many rows went.

        For views of which no reader keeps a copy: none is told.
        """
        connection = self._get_conn(config)
        erased = 0
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for view in views:
                for entity in entities:
                    erased += connection.execute(f"DELETE FROM {view} WHERE entity = ?", (entity,)).rowcount
                    connection.execute("DELETE FROM removed WHERE view = ? AND entity = ?", (view, entity))
        scrub(connection, _BUSY_TIMEOUT_MS / 1000)
        return erased

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Make the tables; what Feast's `apply` calls."""
        connection = self._get_conn(config)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS changes (view TEXT PRIMARY KEY, n INTEGER NOT NULL)")
            for view in tables_to_keep:
                connection.execute(_TABLE.format(view=view.name))
                connection.execute(f"CREATE INDEX IF NOT EXISTS {view.name}_changes ON {view.name} (change)")
            connection.execute(_REMOVED)
        self.drop(config, tables_to_delete)

    def remove_rows(self, config: Any, views: Sequence[Any]) -> None:
        """See `RowStore.remove_rows`."""
        connection = self._get_conn(config)
        for view in views:
            connection.execute(f"DROP TABLE IF EXISTS {view.name}")

    def remove_all(self, config: Any, views: Sequence[Any]) -> None:
        """Remove the file."""
        self._get_conn(config).close()
        self._of_thread = threading.local()
        for suffix in ("", "-wal", "-shm"):
            Path(self._get_db_path(config) + suffix).unlink(missing_ok=True)

    def _get_conn(self, config: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = _initialize_conn(self._get_db_path(config))
            connection.isolation_level = None
            timeout_ms = _BUSY_TIMEOUT_MS if self.timeout_s is None else int(self.timeout_s * 1000)
            connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")
            enter_wal(connection, timeout_ms / 1000)
            # A store of an earlier release lacks it.
            connection.execute(_REMOVED)
            # A checkpoint waits for the disk, within some push: fewer of them, each of 16 MB.
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            # No wait for the disk; `settle` does, before anything says that what was written is there.
            connection.execute("PRAGMA synchronous = NORMAL")
            self._of_thread.connection = connection
        return connection


_TABLE = """
CREATE TABLE IF NOT EXISTS {view} (
    entity TEXT PRIMARY KEY, served TEXT NOT NULL, sketch TEXT NOT NULL, newest_us INTEGER NOT NULL,
    n_events INTEGER NOT NULL, sequence INTEGER NOT NULL, change INTEGER NOT NULL
)
"""
_REMOVED = """
CREATE TABLE IF NOT EXISTS removed (
    view TEXT NOT NULL, entity TEXT NOT NULL, change INTEGER NOT NULL, PRIMARY KEY (view, entity)
)
"""
# Among the counters of changes, since it is read with them.
_SETTLED = "settled"
_SETTLE = f"""
INSERT INTO changes VALUES ('{_SETTLED}', ?) ON CONFLICT (view) DO UPDATE SET n = max(n, excluded.n)
"""
_COUNT_CHANGE = "INSERT INTO changes VALUES (?, 1) ON CONFLICT (view) DO UPDATE SET n = n + 1"


def _count_change(connection: sqlite3.Connection, view: str) -> int:
    connection.execute(_COUNT_CHANGE, (view,))
    (change,) = connection.execute("SELECT n FROM changes WHERE view = ?", (view,)).fetchone()
    return int(change)


def _settled(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT n FROM changes WHERE view = ?", (_SETTLED,)).fetchone()
    return int(found[0]) if found else 0


def _remove(connection: sqlite3.Connection, view: str, where: str, values: Sequence[str] = ()) -> None:
    """Remove rows, and keep their names for readers with a copy of the view."""
    gone = connection.execute(f"SELECT entity FROM {view} WHERE {where}", values).fetchall()
    if gone:
        change = _count_change(connection, view)
        connection.executemany(
            "INSERT OR REPLACE INTO removed VALUES (?, ?, ?)", [(view, entity, change) for (entity,) in gone]
        )
        connection.execute(f"DELETE FROM {view} WHERE {where}", values)


def _read(connection: sqlite3.Connection, view: str, entities: Sequence[str]) -> list[StoredRow | None]:
    found: dict[str, StoredRow] = {}
    for page in in_pages(entities, 500):
        marks = ", ".join("?" * len(page))
        for row in connection.execute(f"SELECT {_COLUMNS} FROM {view} WHERE entity IN ({marks})", page):
            found[row[0]] = StoredRow(*row)
    return [found.get(entity) for entity in entities]


def _take_newer(rows: Sequence[StoredRow], as_of_past: bool) -> Merge:
    by_entity = {row.entity: row for row in rows}
    return lambda entity, stored, _: newer_of(by_entity[entity], stored, as_of_past)
