"""SQLite's write-ahead log, entered safely when several processes open a new file at once."""

from __future__ import annotations

import sqlite3
import time

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
