"""SQLite's write-ahead log: entered safely when several processes open a new file at once, and left without traces."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

_PAUSE_S = 0.01


def enter_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Put a database into WAL mode, waiting for others who do the same.

    SQLite's busy timeout does not cover this statement: of two that turn a new file, one fails at once with "database
    is locked".

    Raises:
        sqlite3.OperationalError: it is still locked after `timeout_s`, or cannot be written.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


def query(
    path: Path, table: str, statement: str, parameters: tuple[Any, ...], timeout_s: float
) -> list[tuple[Any, ...]]:
    """The rows that a statement gives; none where the file does not exist, or has not its table yet.

    Args:
        path: The database, which is never made here.
        table: One that the first writer makes with its first commit.
    Raises:
        sqlite3.Error: the file is no database, or cannot be read.
    """
    with snapshot(path, table, timeout_s) as reader:
        return [] if reader is None else reader.execute(statement, parameters).fetchall()


@contextmanager
def snapshot(path: Path, table: str, timeout_s: float) -> Iterator[sqlite3.Connection | None]:
    """A connection whose statements all see one moment; None where the file does not exist, or has not its table yet.

    Args:
        path: The database, which is never made here.
        table: One that the first writer makes with its first commit.
    Raises:
        sqlite3.Error: the file is no database, or cannot be read.
    """
    if not path.exists():
        yield None
        return
    # mode=rw and not ro: a reader of a WAL database may have to make its -shm file; rw never makes the database.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        there = reader.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        yield reader if there else None


def scrub(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Rewrite a database without what was deleted from it, and empty its write-ahead log.

    A deleted row stays in free pages and in the log, byte for byte, until something is written there.

    Args:
        connection: In no transaction.
        timeout_s: How long others may read or write in the way of it.
    Raises:
        sqlite3.OperationalError: it is still in use after `timeout_s`.
    """
    _patiently(connection, "VACUUM", timeout_s)
    _patiently(connection, "PRAGMA wal_checkpoint(TRUNCATE)", timeout_s)


def _patiently(connection: sqlite3.Connection, statement: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            answer = connection.execute(statement).fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        else:
            # A checkpoint that a reader keeps from its end says 1 first.
            if not answer or not answer[0]:
                return
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("database is locked by a reader")
        time.sleep(_PAUSE_S)
