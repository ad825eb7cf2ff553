from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from core.logs.wal import enter_wal


def locked_file(path: Path) -> sqlite3.Connection:
    """A database file that this connection holds a write lock on."""
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE t (a)")
    holder.execute("BEGIN EXCLUSIVE")
    return holder


def test_it_waits_for_a_lock_that_passes(tmp_path: Path) -> None:
    holder = locked_file(tmp_path / "a.sqlite")
    threading.Timer(0.3, lambda: holder.execute("COMMIT")).start()
    waiting = sqlite3.connect(tmp_path / "a.sqlite", timeout=0)
    enter_wal(waiting, timeout_s=30)
    assert waiting.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_lock_that_stays_is_an_error(tmp_path: Path) -> None:
    holder = locked_file(tmp_path / "a.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        enter_wal(sqlite3.connect(tmp_path / "a.sqlite", timeout=0), timeout_s=0.1)
    holder.close()


def test_what_is_no_lock_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"no database at all, but of some length" * 40)
    with pytest.raises(sqlite3.DatabaseError):
        enter_wal(sqlite3.connect(tmp_path / "a.sqlite"), timeout_s=30)
