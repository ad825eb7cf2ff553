"""The SQLite table of the event log, and what is known beside it: its marks, and which ids are sealed."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from core.logs.wal import enter_wal

BUSY_TIMEOUT_S = 30.0
# Of an event, in the order of `core.logs.sealed.SCHEMA`.
COLUMNS = (
    "sequence, event_id, user_id, item_id, event, value, timestamp, recommendation_id, shown_position, received_at"
)
# Logs of earlier releases lack these: whoever opens one for writing adds them.
ADDED = {"recommendation_id": "TEXT", "shown_position": "INTEGER"}
COLUMNS_THERE = "SELECT name FROM pragma_table_info('events')"
SEALED_MARK = "SELECT sequence FROM marks WHERE name = 'sealed'"
_TABLE = """
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT UNIQUE NOT NULL,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    event TEXT NOT NULL,
    value REAL,
    timestamp TEXT NOT NULL,
    received_at TEXT NOT NULL,
    recommendation_id TEXT,
    shown_position INTEGER
)
"""
_MARK_TABLE = "CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL)"
_SEALED_IDS = "CREATE TABLE IF NOT EXISTS sealed_ids (id INTEGER PRIMARY KEY)"
_BORN = "INSERT OR IGNORE INTO marks (name, sequence) VALUES ('born', ?)"
# The table of SQLite's AUTOINCREMENT; it has a row from the first event on.
_FIRST_NUMBER = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'events', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence)"
)
_RAISE_NUMBERS = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'events'"


def connect(path: Path, sealed_to: int, above: int | None) -> sqlite3.Connection:
    """A connection to write with, in autocommit, to a log as this release has it; the file is made if missing.

    Args:
        sealed_to: The number up to which events are sealed: new ones get higher ones.
        above: See `core.logs.events.EventLog`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        writer.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file, and of one that VACUUM writes anew
        enter_wal(writer, BUSY_TIMEOUT_S)
        writer.execute("PRAGMA synchronous = FULL")  # WAL's own default may lose the newest commits
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(_TABLE)
        there = {name for (name,) in writer.execute(COLUMNS_THERE)}
        for name in ADDED.keys() - there:
            writer.execute(f"ALTER TABLE events ADD COLUMN {name} {ADDED[name]}")
        writer.execute(_MARK_TABLE)
        writer.execute(_SEALED_IDS)
        opened_us = time.time_ns() // 1000
        writer.execute(_BORN, (opened_us,))
        writer.execute(_FIRST_NUMBER)
        writer.execute(_RAISE_NUMBERS, (max(opened_us if above is None else above, sealed_to),))
        writer.execute("COMMIT")
    except BaseException:
        writer.close()
        raise
    return writer
