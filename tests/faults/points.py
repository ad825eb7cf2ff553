"""Every write of a process below some folders, one call before each: what makes a fault possible at each of them.

Python's own audit hook sees every file that is opened for writing, every rename, removal and new folder, whichever
module asks for it. What the hook does not see is wrapped here: `fsync`, the commits of SQLite, PostgreSQL and Redis,
and files that libraries write without Python (DuckDB, Arrow, safetensors). A hook stays for good, so this belongs into
a process of its own.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import storage

ROOT = Path(__file__).parents[2]
PRODUCT = ("core", "recommender", "simulation", "monitoring", "validation", "features", "serving", "flows")
# Of these a full disk is said; to take something away needs no room.
NEED_ROOM = ("open", "mkdir", "rename", "link", "fsync", "commit", "statement", "write")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_COMMITS = ("COMMIT", "END")
_STATEMENTS = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER")


@dataclass(frozen=True)
class Point:
    """One place of a run at which it can be cut short.

    Attributes:
        kind: What is about to be done: "open" (a file, for writing), "mkdir", "rename", "link", "unlink", "rmdir",
            "fsync", "commit", "statement" (of SQL, within a transaction) or "write" (a file, by a library).
        place: The function of the product that does it, and its line.
        turn: How often that was so before in this run.
    """

    kind: str
    place: str
    turn: int

    def __str__(self) -> str:
        return f"{self.kind} {self.place} #{self.turn}"


class Watch:
    """Calls `meet` before each write below `folder`; what `meet` raises is what the write fails with.

    Attributes:
        unsynced: What was given a name before it was on the disk, and where.
    """

    def __init__(self, folder: Path, meet: Callable[[Point], None]) -> None:
        self._folder, self._meet = str(folder.absolute()), meet
        self._turns: Counter[tuple[str, str]] = Counter()
        self._is_meeting = False
        self._pid = os.getpid()
        self._synced: set[tuple[int, int]] = set()
        self.unsynced: list[str] = []

    def install(self) -> None:
        """Begin; for the rest of this process's life."""
        sys.addaudithook(self._on_audit)
        for name in ("fsync", "fdatasync"):
            setattr(os, name, self._synced_by(getattr(os, name)))
        storage._exchange = self._before(storage._exchange, "rename", self._named)  # type: ignore[assignment]
        self._watch_sqlite()
        self._watch_writers()
        self._watch_servers()

    def reach(self, kind: str, path: Any) -> None:
        """A write is about to be done."""
        if self._is_meeting or os.getpid() != self._pid or not self._is_below(path):
            return
        place = _place()
        point = Point(kind, place, self._turns[kind, place])
        self._turns[kind, place] += 1
        self._is_meeting = True
        try:
            self._meet(point)
        finally:
            self._is_meeting = False

    def _is_below(self, path: Any) -> bool:
        if path is None:  # on a server
            return True
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        return text.startswith(self._folder)

    def _before(self, call: Callable[..., Any], kind: str, path_of: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            self.reach(kind, path_of(*args, **named))
            return call(*args, **named)

        return wrapped

    def _synced_by(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(handle: int) -> None:
            self.reach("fsync", _path_of(handle))
            sync(handle)
            self._synced.add(_version(os.fstat(handle)))

        return synced

    def _named(self, source: Any, target: Any) -> Any:
        """Something is about to be given a name: look whether all of it is on the disk; its new name."""
        root, name = os.fsdecode(source), os.fsdecode(target)
        if name.endswith(storage.UNFINISHED) or not self._is_below(name) or os.getpid() != self._pid:
            return target
        inside = [root, *(os.path.join(at, one) for at, down, files in os.walk(root) for one in (*down, *files))]  # noqa: PTH118
        for path in inside:
            if _version(os.stat(path)) not in self._synced:  # noqa: PTH116
                self.unsynced.append(f"{name} at {_place()}: {os.path.relpath(path, root)}")
        return target

    def _on_audit(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            path, _, flags = args
            if isinstance(path, str | bytes) and isinstance(flags, int) and flags & _WRITING:
                self.reach("open", path)
        elif name == "os.rename":
            self.reach("rename", self._named(_resolve(args[0], args[2]), _resolve(args[1], args[3])))
        elif name in ("os.link", "os.symlink"):
            self.reach("link", _resolve(args[1], args[3] if len(args) > 3 else -1))
        elif name == "os.mkdir":
            path = _resolve(args[0], args[2])
            if not os.path.isdir(path):  # noqa: PTH112 (one that is there is no new one)
                self.reach("mkdir", path)
        elif name in ("os.remove", "os.rmdir"):
            path = _resolve(args[0], args[1])
            if os.path.lexists(path):
                self.reach("unlink" if name == "os.remove" else "rmdir", path)

    def _watch_sqlite(self) -> None:
        watch, connect = self, sqlite3.connect

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *args: Any) -> Any:
                _before_sql(watch, self.connection, sql)
                return super().execute(sql, *args)

            def executemany(self, sql: str, *args: Any) -> Any:
                _before_sql(watch, self.connection, sql)
                return super().executemany(sql, *args)

        class Connection(sqlite3.Connection):
            file: str | None = None

            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

            def execute(self, sql: str, *args: Any) -> Any:
                return self.cursor().execute(sql, *args)

            def executemany(self, sql: str, *args: Any) -> Any:
                return self.cursor().executemany(sql, *args)

            def commit(self) -> None:
                if self.in_transaction and self.file:
                    watch.reach("commit", self.file)
                super().commit()

            def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
                if kind is None and self.in_transaction and self.file:
                    try:
                        watch.reach("commit", self.file)
                    except BaseException:
                        self.rollback()
                        raise
                return super().__exit__(kind, error, trace)

        def connected(database: Any, *args: Any, **named: Any) -> Any:
            opened = connect(database, *args, **{"factory": Connection, **named})
            name = re.sub(r"^file://|\?.*$", "", os.fsdecode(database))
            if isinstance(opened, Connection) and name and name != ":memory:":
                opened.file = name
            return opened

        sqlite3.connect = connected  # type: ignore[assignment]
        sqlite3.dbapi2.connect = connected  # type: ignore[assignment]

    def _watch_writers(self) -> None:
        import duckdb
        import pyarrow.parquet as pq
        import safetensors.torch

        watch, connect, serialize = self, duckdb.connect, safetensors.torch.serialize_file
        close = pq.ParquetWriter.close

        class Database:
            """DuckDB's connection, whose class cannot be derived from."""

            def __init__(self, connection: Any) -> None:
                self._connection = connection

            def __getattr__(self, name: str) -> Any:
                return getattr(self._connection, name)

            def __enter__(self) -> Database:
                self._connection.__enter__()
                return self

            def __exit__(self, *why: Any) -> Any:
                return self._connection.__exit__(*why)

            def execute(self, statement: Any, *args: Any, **named: Any) -> Any:
                target = re.match(r"COPY .* TO '([^']+)' \(", str(statement), re.DOTALL)
                if target:
                    watch.reach("write", target[1])
                return self._connection.execute(statement, *args, **named)

        def close_writer(writer: Any) -> None:
            where = writer.where if hasattr(writer, "where") else None
            if writer.is_open and isinstance(where, str | os.PathLike):
                watch.reach("write", where)
            close(writer)

        def serialize_file(tensors: Any, path: Any, *args: Any, **named: Any) -> Any:
            watch.reach("write", path)
            return serialize(tensors, path, *args, **named)

        duckdb.connect = lambda *args, **named: Database(connect(*args, **named))
        pq.ParquetWriter.close = close_writer
        safetensors.torch.serialize_file = serialize_file

    def _watch_servers(self) -> None:
        import adbc_driver_manager.dbapi as adbc
        import psycopg
        import redis

        for owner, name in (
            (psycopg.Connection, "commit"),
            (adbc.Connection, "commit"),
            (redis.Redis, "execute_command"),
            (redis.client.Pipeline, "execute"),
        ):
            setattr(owner, name, self._before(getattr(owner, name), "commit", lambda *_, **__: None))


def disk_full(point: Point) -> Exception:
    """What a full disk says at a point, in the words of whoever writes there."""
    if point.kind in ("commit", "statement"):
        return sqlite3.OperationalError("database or disk is full")
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), point.place)


def _before_sql(watch: Watch, connection: Any, sql: str) -> None:
    if connection.file is None:
        return
    words = sql.split(None, 1)
    first = words[0].upper().rstrip(";") if words else ""
    if first in _COMMITS:
        if connection.in_transaction:
            watch.reach("commit", connection.file)
    elif first in _STATEMENTS and not _does_nothing(connection, sql):
        alone = connection.isolation_level is None and not connection.in_transaction
        watch.reach("commit" if alone else "statement", connection.file)


def _does_nothing(connection: Any, sql: str) -> bool:
    """Whether a statement writes nothing to the file: of a temporary table, or of one that is there already."""
    made = re.match(r"\s*CREATE\s+(TEMP\w*\s+)?(?:TABLE|INDEX)\s+IF\s+NOT\s+EXISTS\s+(\w+)", sql, re.IGNORECASE)
    if made is None:
        return re.match(r"\s*\w+\s+TEMP", sql, re.IGNORECASE) is not None
    find = "SELECT 1 FROM sqlite_master WHERE name = ?"
    return bool(made[1]) or sqlite3.Cursor.execute(sqlite3.Cursor(connection), find, (made[2],)).fetchone() is not None


def _place() -> str:
    """The innermost function of the product on the stack."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(str(ROOT)):
            inside = name[len(str(ROOT)) + 1 :]
            if inside.split("/")[0] in PRODUCT and not inside.startswith("core/storage"):
                return f"{inside}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


def _version(found: os.stat_result) -> tuple[int, int]:
    """A file or folder as it is now: another one after it was written to."""
    return found.st_ino, found.st_mtime_ns


def _resolve(path: Any, handle: Any) -> str:
    text = os.fsdecode(path)
    return os.path.join(_path_of(handle), text) if isinstance(handle, int) and handle >= 0 else text  # noqa: PTH118


def _path_of(handle: int) -> str:
    return os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115
