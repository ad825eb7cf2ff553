"""The time line of a shop: what monitoring saw, what was decided of it, and what came of that. One SQLite table.

```
<shop>/timeline.sqlite   an entry for each alarm, decision, run, gate, canary step, promotion, rollback, notification
```
Entries are added, and never taken back. What lasts (an alarm that is on, a run that goes on) is one entry: how often it
was seen is counted, and how it ended is said in its `state`. Only the oldest go, when they are too many or too old; an
alarm that is on and a run that has not ended stay. No entry holds a user's id.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.errors import SommelierError
from core.logs.wal import enter_wal, query
from core.storage import is_disk_full
from core.timing.clock import CLOCK

Kind = Literal["alarm", "decision", "run", "gate", "canary", "promotion", "rollback", "notification"]

ON, CLEARED = "on", "cleared"  # of an alarm
RUNNING = "running"  # of a run; then completed, failed, crashed or cancelled
WAITING = "waiting"  # of a run, and of what the gate said: for somebody's approval
PAGE = "page"  # in the details: the report to read of it, below the shop's reports
_LASTING = (ON, RUNNING, WAITING)
_BUSY_TIMEOUT_S = 30.0
_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    until TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    count INTEGER NOT NULL,
    says TEXT NOT NULL,
    cause INTEGER,
    details TEXT NOT NULL,
    key TEXT UNIQUE
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS entries_by_kind ON entries (kind, id)"
_COLUMNS = "id, at, until, kind, subject, state, count, says, cause, details"
_INSERT = """
INSERT INTO entries (at, until, kind, subject, state, count, says, cause, details, key)
VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
"""
_DETAILS = TypeAdapter(dict[str, Any])
_UPDATE = "UPDATE entries SET until = ?, state = ?, count = ?, says = ?, details = ? WHERE id = ?"


class TimelineError(SommelierError):
    """The time line cannot be read or written."""


class Entry(BaseModel):
    """One thing that happened, or that lasted for a while.

    Attributes:
        id: Grows with time.
        at: When it began, or was first seen; ISO 8601, UTC.
        until: When it was last seen or ended; that of what happened at once is `at`.
        kind: What it is.
        subject: What it is about: an alarm's signal, what a decision wants, a flow, a bundle, a notification block.
        state: How it stands, or ended.
        count: How often it was seen.
        says: One sentence.
        cause: Of the entry that led to this one; None where nothing on the time line did.
        details: Figures and names, by kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    at: str
    until: str
    kind: Kind
    subject: str
    state: str
    count: int = 1
    says: str
    cause: int | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class Timeline:
    """The file; it is made by the first write, and one that does not exist is empty.

    Many processes may read and write at once.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(
        self,
        kind: Kind,
        subject: str,
        state: str,
        says: str,
        *,
        cause: int | None = None,
        details: Mapping[str, Any] | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Entry:
        """Record that something happened; it is on the disk when this returns.

        Args:
            at: When; by default now.
            key: Names what happened: of one key there is one entry, also where a process was killed and tries again.
                None: it is another thing each time.
        Returns:
            The entry; that of the key, as it stands, where there was one.
        Raises:
            TimelineError: it cannot be written.
        """
        moment = _text(at)
        row = (moment, moment, kind, subject, state, says, cause, _json(details or {}), key)
        with self._writing() as writer:
            done = writer.execute(_INSERT, row)
            number = done.lastrowid if done.rowcount == 1 else None
        found = self.keyed(str(key)) if number is None else self.find(number)
        assert found is not None
        return found

    def repeat(
        self,
        entry: Entry,
        says: str = "",
        *,
        details: Mapping[str, Any] | None = None,
        only: Collection[str] = (),
    ) -> Entry:
        """Count that what an entry is about was seen again.

        Args:
            entry: As it was read; whatever others wrote of it since stays.
            says: How it stands now; empty leaves what was said.
            details: In place of those of the same names.
            only: The states in which it is changed; none: whatever its state is.
        Returns:
            The entry as it stands now.
        Raises:
            TimelineError: it cannot be written.
        """
        return self._change(entry, says=says, details=details, only=only, seen=1)

    def settle(
        self,
        entry: Entry,
        state: str,
        says: str = "",
        *,
        details: Mapping[str, Any] | None = None,
        only: Collection[str] = (),
    ) -> Entry:
        """Say how it stands with what an entry is about, or how it ended.

        Args:
            entry, says, details, only: As of `repeat`.
        Returns, Raises:
            As of `repeat`.
        """
        return self._change(entry, state=state, says=says, details=details, only=only)

    def note(self, entry: Entry, details: Mapping[str, Any], *, where: Mapping[str, Any] | None = None) -> Entry:
        """Keep more of what an entry is about: nothing has happened to it.

        Args:
            entry, details: As of `repeat`.
            where: Details as which it has to stand still to be changed; none: whatever its details are.
        Returns, Raises:
            As of `repeat`.
        """
        return self._change(entry, details=details, where=where, happened=False)

    def read(
        self,
        kinds: Sequence[Kind] = (),
        *,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = 1000,
    ) -> list[Entry]:
        """The newest entries, oldest first.

        Args:
            kinds: Of these alone; none: of all.
            since: That lasted until then or longer.
            before: Older than the entry of this id.
            limit: At most so many.
        Raises:
            TimelineError: it cannot be read.
        """
        asked: list[tuple[str, Any]] = []
        if kinds:
            asked.append((f"kind IN ({', '.join('?' * len(kinds))})", tuple(kinds)))
        if since is not None:
            asked.append(("until >= ?", (_text(since),)))
        if before is not None:
            asked.append(("id < ?", (before,)))
        where = f"WHERE {' AND '.join(one for one, _ in asked)}" if asked else ""
        values = [value for _, given in asked for value in given]
        return self._select(f"{where} ORDER BY id DESC LIMIT ?", (*values, limit))[::-1]

    def lasting(self, kind: Kind) -> list[Entry]:
        """The alarms that are on, or the runs that have not ended, oldest first.

        Raises:
            TimelineError: it cannot be read.
        """
        return self._select(f"WHERE kind = ? AND state IN {_LASTING} ORDER BY id", (kind,))

    def detailed(self, name: str) -> list[Entry]:
        """The entries that have something true among their details by this name, oldest first.

        Raises:
            TimelineError: it cannot be read.
        """
        # Python reads what earlier versions wrote that is no JSON: NaN.
        is_there = "iif(json_valid(details), json_type(details, ?) IN ('object', 'true'), true)"
        return [one for one in self._select(f"WHERE {is_there} ORDER BY id", (f"$.{name}",)) if one.details.get(name)]

    def newest(self, kind: Kind, subject: str | None = None) -> Entry | None:
        """The newest entry of a kind, and of a subject where one is named.

        Raises:
            TimelineError: it cannot be read.
        """
        of_subject, values = ("", ()) if subject is None else (" AND subject = ?", (subject,))
        found = self._select(f"WHERE kind = ?{of_subject} ORDER BY id DESC LIMIT 1", (kind, *values))
        return found[0] if found else None

    def find(self, number: int) -> Entry | None:
        """The entry of an id.

        Raises:
            TimelineError: it cannot be read.
        """
        found = self._select("WHERE id = ?", (number,))
        return found[0] if found else None

    def keyed(self, key: str) -> Entry | None:
        """The entry of a key.

        Raises:
            TimelineError: it cannot be read.
        """
        found = self._select("WHERE key = ?", (key,))
        return found[0] if found else None

    def prune(self, max_entries: int, days: float) -> int:
        """Remove the oldest entries; what lasts stays.

        Args:
            max_entries: So many of the newest stay.
            days: So long after they ended.
        Returns:
            How many were removed.
        Raises:
            TimelineError: it cannot be written.
        """
        if not self.path.exists():
            return 0
        oldest = _text(CLOCK.earliest() - timedelta(days=days))
        with self._writing() as writer:
            return writer.execute(
                f"DELETE FROM entries WHERE state NOT IN {_LASTING} AND (until < ? OR id <= "
                "(SELECT id FROM entries ORDER BY id DESC LIMIT 1 OFFSET ?))",
                (oldest, max_entries),
            ).rowcount

    def _change(
        self,
        entry: Entry,
        *,
        state: str = "",
        says: str = "",
        details: Mapping[str, Any] | None = None,
        only: Collection[str] = (),
        where: Mapping[str, Any] | None = None,
        seen: int = 0,
        happened: bool = True,
    ) -> Entry:
        with self._writing() as writer:
            # What was read of it before may be old: others write too.
            row = writer.execute(f"SELECT {_COLUMNS} FROM entries WHERE id = ?", (entry.id,)).fetchone()
            stands = entry if row is None else _entry_of(row)
            if only and stands.state not in only:
                return stands
            if any(stands.details.get(name) != value for name, value in (where or {}).items()):
                return stands
            given = {
                "until": _text(None) if happened else stands.until,
                "state": state or stands.state,
                "count": stands.count + seen,
                "says": says or stands.says,
                "details": {**stands.details, **(details or {})},
            }
            after = stands.model_copy(update=given)
            changed = (after.until, after.state, after.count, after.says, _json(after.details), after.id)
            writer.execute(_UPDATE, changed)
        return after

    def _select(self, rest: str, values: tuple[Any, ...]) -> list[Entry]:
        try:
            rows = query(self.path, "entries", f"SELECT {_COLUMNS} FROM entries {rest}", values, _BUSY_TIMEOUT_S)
        except sqlite3.Error as error:
            raise self._failure("read", error) from error
        return [_entry_of(row) for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk when the block ends, or has changed nothing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            writer = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            try:
                enter_wal(writer, _BUSY_TIMEOUT_S)
                writer.execute("PRAGMA synchronous = FULL")
                writer.execute("BEGIN IMMEDIATE")
                try:
                    writer.execute(_TABLE)
                    writer.execute(_INDEX)
                    yield writer
                    writer.execute("COMMIT")
                except BaseException:
                    if writer.in_transaction:
                        writer.execute("ROLLBACK")
                    raise
            finally:
                writer.close()
        except (sqlite3.Error, OSError) as error:
            raise self._failure("write", error) from error

    def _failure(self, verb: str, error: Exception) -> TimelineError:
        return TimelineError(
            f"Cannot {verb} the time line",
            got=f"path={self.path}",
            expected=f"a SQLite file, but {error}",
            do="Free room on the disk and try again"
            if is_disk_full(error)
            else "Check the disk and the file's rights; a damaged file must be moved away or restored",
        )


def _entry_of(row: Sequence[Any]) -> Entry:
    """An entry from its columns."""
    names = [name.strip() for name in _COLUMNS.split(",")]
    return Entry.model_validate({**dict(zip(names, row, strict=True)), "details": json.loads(row[-1])})


def _json(details: Mapping[str, Any]) -> str:
    """Details as JSON that every reader takes: what is no number, or infinite, is null."""
    return _DETAILS.dump_json(dict(details)).decode()


def _text(moment: datetime | None) -> str:
    """ISO 8601 in UTC with three decimals, so that the texts sort as the times do; by default of now."""
    return (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds")
