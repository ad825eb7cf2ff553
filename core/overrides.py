"""What clients say of items and users, above what the source says: one row each in a SQLite file of the shop.

A field that a client sets counts in place of the source's from then on, until the client takes it back. An item that is
not available, or that was deleted, is kept and never shown. The service writes, and follows what other processes write;
`validation` reads the fields beside the source.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from core.errors import SommelierError
from core.events import bad_id, canonical_id
from core.logs.wal import enter_wal, query, scrub
from core.storage import is_disk_full

Kind = Literal["items", "users"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Scalar = str | float

_BUSY_TIMEOUT_S = 30.0
# `version` counts the writes of the file: each row has the number of its last one.
_TABLE = """
CREATE TABLE IF NOT EXISTS overrides (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    fields TEXT NOT NULL,
    attributes TEXT NOT NULL,
    is_available INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL,
    changed_at TEXT NOT NULL,
    version INTEGER UNIQUE NOT NULL,
    PRIMARY KEY (kind, id)
)
"""
_COLUMNS = "id, fields, attributes, is_available, is_deleted, changed_at, version"
_FIND = f"SELECT {_COLUMNS} FROM overrides WHERE kind = ? AND id = ?"
_SINCE = f"SELECT {_COLUMNS} FROM overrides WHERE kind = ? AND version > ? ORDER BY version"
_NEXT = "UPDATE versions SET newest = newest + 1 RETURNING newest"
_WRITE = """
INSERT INTO overrides (kind, id, fields, attributes, is_available, is_deleted, changed_at, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (kind, id) DO UPDATE SET fields = excluded.fields, attributes = excluded.attributes,
    is_available = excluded.is_available, is_deleted = excluded.is_deleted, changed_at = excluded.changed_at,
    version = excluded.version
"""


class OverrideError(SommelierError):
    """The file of overrides cannot be read or written, or an id is none."""


class OverrideRefused(OverrideError):
    """An override is of somebody of whom nothing may be kept."""


@dataclass(frozen=True)
class Override:
    """What clients say of one item or user.

    Attributes:
        id: As the clean tables have it.
        fields: Columns of the contract to their values.
        attributes: Further columns to their values.
        is_available: False where the item may not be shown for now.
        is_deleted: True where it may not be shown any more.
        changed_at: ISO 8601, UTC.
        version: Of the last change; grows with every change in the file.
    """

    id: str
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_available: bool = True
    is_deleted: bool = False
    changed_at: str = ""
    version: int = 0

    @property
    def is_hidden(self) -> bool:
        """Whether the item may not be shown."""
        return self.is_deleted or not self.is_available

    @property
    def says_something(self) -> bool:
        """Whether a field or an attribute counts in place of the source's."""
        return not self.is_deleted and bool(self.fields or self.attributes)


class Overrides:
    """The file; it is made by the first write, and one that does not exist says nothing.

    Many threads and many processes may read and write at once.

    Args:
        path: The file.
        is_forgotten: Whether nothing of a user may be kept; asked while nobody else can write.
    """

    def __init__(self, path: Path, is_forgotten: Callable[[str], bool] = lambda _: False) -> None:
        self.path = path
        self._is_forgotten = is_forgotten
        self._lock = threading.Lock()

    def patch(
        self,
        kind: Kind,
        id_: str,
        fields: Mapping[str, Scalar | None],
        attributes: Mapping[str, str | None],
        is_available: bool | None = None,
    ) -> Override:
        """Set what is given, which is on the disk when this returns; null takes back what was set before.

        One that was deleted is there again, with what is given alone.

        Args:
            id_: However it is written.
            is_available: None leaves it as it is.
        Raises:
            OverrideError: the id is none, or SQLite cannot write; then nothing was written.
            OverrideRefused: the user is forgotten.
        """

        def changed(before: Override) -> Override:
            known = Override(before.id) if before.is_deleted else before
            return Override(
                before.id,
                _merged(known.fields, fields),
                _merged(known.attributes, attributes),
                known.is_available if is_available is None else is_available,
            )

        return self._change(kind, id_, changed)

    def delete(self, kind: Kind, id_: str) -> Override:
        """Say that one is not to be shown any more, and take back all that was set.

        Raises:
            OverrideError: as of `patch`.
        """
        return self._change(kind, id_, lambda before: Override(before.id, is_deleted=True))

    def find(self, kind: Kind, id_: str, timeout_s: float = _BUSY_TIMEOUT_S) -> Override | None:
        """What is said of one; None where nothing ever was, or nothing may be kept.

        Args:
            timeout_s: How long it waits for whoever has the file locked.
        Raises:
            OverrideError: the file cannot be read.
        """
        own = canonical_id(id_)
        if kind == "users" and self._is_forgotten(own):
            return None
        found = self._read(_FIND, (kind, own), timeout_s)
        return _override(found[0]) if found else None

    def since(self, kind: Kind, version: int = 0) -> Iterator[Override]:
        """Those that changed after a version, in the order of their last change.

        Raises:
            OverrideError: the file cannot be read.
        """
        yield from map(_override, self._read(_SINCE, (kind, version)))

    def newest(self) -> int:
        """The version of the newest change, also of what is gone; 0 where nothing was ever said.

        Raises:
            OverrideError: the file cannot be read.
        """
        found = self._read("SELECT newest FROM versions")
        return int(found[0][0]) if found else 0

    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the file, by which one that was put in its place is told; None where there is none.

        Raises:
            OverrideError: it cannot be looked at.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure("read", error) from error
        return found.st_dev, found.st_ino

    def erase_users(self, is_gone: Callable[[str], bool]) -> int:
        """Remove what is said of users, and every trace of it in the file; how many were removed.

        Raises:
            OverrideError: SQLite cannot write, or somebody reads without end.
        """
        if not self.path.exists():
            return 0
        with self._writing() as writer:
            gone = [id_ for (id_,) in writer.execute("SELECT id FROM overrides WHERE kind = 'users'") if is_gone(id_)]
            writer.execute("BEGIN IMMEDIATE")
            writer.executemany("DELETE FROM overrides WHERE kind = 'users' AND id = ?", [(id_,) for id_ in gone])
            writer.execute(_NEXT)
            writer.execute("COMMIT")
            # Also where nothing was found: a process that was killed here had deleted the rows alone.
            scrub(writer, _BUSY_TIMEOUT_S)
        return len(gone)

    def _change(self, kind: Kind, id_: str, change: Callable[[Override], Override]) -> Override:
        own = canonical_id(id_)
        if broken := bad_id(own):
            raise OverrideError(f"Cannot change {kind}", got=f"id={own[:60]!r}", expected=broken, do="Give another id")
        with self._writing() as writer:
            # IMMEDIATE takes the write lock at once: of two clients each sees what the other has set.
            writer.execute("BEGIN IMMEDIATE")
            # Whoever forgets a user writes that down first, and then waits for this lock to remove what is said.
            if kind == "users" and self._is_forgotten(own):
                raise OverrideRefused(
                    "Cannot change users",
                    got=f"id={own[:60]!r}",
                    expected="a user who was not forgotten",
                    do="Leave this user out",
                )
            row = writer.execute(_FIND, (kind, own)).fetchone()
            after = change(_override(row) if row else Override(own))
            ((version,),) = writer.execute(_NEXT).fetchall()
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            said = (json.dumps(one, ensure_ascii=False) for one in (after.fields, after.attributes))
            writer.execute(_WRITE, (kind, own, *said, after.is_available, after.is_deleted, now, version))
            writer.execute("COMMIT")
        return Override(own, after.fields, after.attributes, after.is_available, after.is_deleted, now, version)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection that may write; a transaction that is open at the end is taken back.

        Changes are rare, so that each opens the file: nothing is held of one that was removed or put back.
        """
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as writer:
                    enter_wal(writer, _BUSY_TIMEOUT_S)
                    writer.execute("PRAGMA synchronous = FULL")  # WAL's own default may lose the newest commits
                    writer.execute("BEGIN IMMEDIATE")
                    writer.execute(_TABLE)
                    writer.execute("CREATE TABLE IF NOT EXISTS versions (newest INTEGER NOT NULL)")
                    writer.execute("INSERT INTO versions (newest) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM versions)")
                    writer.execute("COMMIT")
                    yield writer
            except (sqlite3.Error, OSError) as error:
                raise self._failure("write", error) from error

    def _read(
        self, statement: str, parameters: tuple[Any, ...] = (), timeout_s: float = _BUSY_TIMEOUT_S
    ) -> list[tuple[Any, ...]]:
        try:
            return query(self.path, "versions", statement, parameters, timeout_s)
        except sqlite3.Error as error:
            raise self._failure("read", error) from error

    def _failure(self, verb: str, error: Exception) -> OverrideError:
        return OverrideError(
            f"Cannot {verb} what clients say of items and users",
            got=f"path={self.path}",
            expected=f"a SQLite file, but {error}",
            do="Free room on the disk and send it again"
            if is_disk_full(error)
            else "Check the disk and the file's rights; a damaged file must be moved away or restored",
        )


def _merged(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was set with what is given; null takes a field back (RFC 7396)."""
    return {name: value for name, value in {**known, **given}.items() if value is not None}


def _override(row: tuple[Any, ...]) -> Override:
    id_, fields, attributes, is_available, is_deleted, changed_at, version = row
    said = json.loads(fields), json.loads(attributes)
    return Override(id_, *said, bool(is_available), bool(is_deleted), changed_at, version)
