"""The durable log of what clients report: an event that was acknowledged is on the disk, once, for good.

The service appends, `validation` reads. Many threads and many processes may do both at once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.errors import SommelierError
from core.logs.wal import enter_wal, query, scrub
from core.storage import is_disk_full
from core.timing.clock import CLOCK

_BUSY_TIMEOUT_S = 30.0
_PAGE_ROWS = 10_000
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
# Logs of earlier releases lack these columns: whoever opens one for writing adds them.
_ADDED = {"recommendation_id": "TEXT", "shown_position": "INTEGER"}
_COLUMNS = "SELECT name FROM pragma_table_info('events')"
_MARK_TABLE = "CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL)"
_MARK = """
INSERT INTO marks (name, sequence) VALUES ('pushed', ?)
ON CONFLICT (name) DO UPDATE SET sequence = max(sequence, excluded.sequence)
"""
_BORN = "INSERT OR IGNORE INTO marks (name, sequence) VALUES ('born', ?)"
# The table of SQLite's AUTOINCREMENT; it has a row from the first event on.
_FIRST_NUMBER = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'events', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence)"
)
_RAISE_NUMBERS = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'events'"
_INSERT = """
INSERT INTO events (event_id, user_id, item_id, event, value, timestamp, received_at, recommendation_id, shown_position)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING
"""
_PAGE = """
SELECT sequence, event_id, user_id, item_id, event, value, timestamp, {added} FROM events
WHERE sequence > ? ORDER BY sequence LIMIT ?
"""
_SINCE = """
SELECT user_id, item_id, event, timestamp, {added} FROM events WHERE timestamp >= ? ORDER BY sequence
"""


@dataclass(frozen=True)
class Interaction:
    """One event, as a client sends it and as the event log keeps it.

    Attributes:
        recommendation_id: Of the answer that showed the item, where the client says so.
        shown_position: The item's place in that answer, 1 for the first.
    """

    event_id: str
    user_id: str
    item_id: str
    event: str
    timestamp: datetime
    value: float | None = None
    recommendation_id: str | None = None
    shown_position: int | None = None


class EventLogError(SommelierError):
    """The event log cannot be read or written, or an event has no time zone."""


class UserRefused(EventLogError):
    """An event is of a user of whom nothing may be kept."""


class EventLog:
    """A SQLite table of events, one row per event id, to which events are only added, but for those of the forgotten.

    The file is made by the first append; a log that does not exist reads as empty. Rows get their sequence in the
    order in which they were committed, so a reader that remembers the last one misses nothing.

    Whoever opens the log for writing goes on above the microseconds since 1970: a log that was deleted, or put back
    from a copy, never gives a number again that a feature row may hold already.

    Args:
        path: The file.
        is_forgotten: Whether nothing of a user may be kept; asked of every event while nobody else can write.
        above: The number to go on above in place of that.
    """

    def __init__(
        self, path: Path, is_forgotten: Callable[[str], bool] = lambda _: False, *, above: int | None = None
    ) -> None:
        self.path = path
        self._is_forgotten = is_forgotten
        self._above = above
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def append(self, events: Sequence[Interaction]) -> list[Interaction]:
        """Write events in one transaction that is on the disk when this returns.

        Args:
            events: In the order to keep. An event id that the log already holds is left out, so that a client may
                send the same events again.
        Returns:
            Those that were new, in the order given.
        Raises:
            EventLogError: a timestamp has no time zone, or SQLite cannot write; then nothing was written.
            UserRefused: a user is forgotten; nothing was written either.
        """
        received_at = _as_text(CLOCK.now())
        rows = [
            (
                *(e.event_id, e.user_id, e.item_id, e.event, e.value, _as_text(_aware(e)), received_at),
                *(e.recommendation_id, e.shown_position),
            )
            for e in events
        ]
        if not rows:
            return []
        with self._lock:
            try:
                writer = self._open_for_writing()
                # IMMEDIATE takes the write lock at once: a deferred transaction cannot wait for a busy one.
                writer.execute("BEGIN IMMEDIATE")
                try:
                    # Whoever forgets a user writes that down first, and then waits for this lock to remove events.
                    self._refuse_forgotten(events)
                    is_new = [writer.execute(_INSERT, row).rowcount == 1 for row in rows]
                    writer.execute("COMMIT")
                except BaseException:
                    if writer.in_transaction:  # on a full disk SQLite has taken it back already
                        writer.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise self._failure("write", error) from error
        return [event for event, new in zip(events, is_new, strict=True) if new]

    def erase(self, is_gone: Callable[[str], bool]) -> list[datetime]:
        """Remove the events of users, and every trace of them in the file; the numbers of the others stay.

        Args:
            is_gone: Whether a user's events go, asked with the id as it was logged.
        Returns:
            The times of those that were removed.
        Raises:
            EventLogError: SQLite cannot write, or somebody reads without end.
        """
        if not self.path.exists():
            return []
        with self._lock:
            try:
                writer = self._open_for_writing()
                writer.create_function("is_gone", 1, lambda user: int(is_gone(str(user))))
                writer.execute("BEGIN IMMEDIATE")
                try:
                    times = writer.execute("SELECT timestamp FROM events WHERE is_gone(user_id)").fetchall()
                    writer.execute("DELETE FROM events WHERE is_gone(user_id)")
                    writer.execute("COMMIT")
                except BaseException:
                    writer.execute("ROLLBACK")
                    raise
                # Also where nothing was found: a process that was killed here had deleted the rows alone.
                scrub(writer, _BUSY_TIMEOUT_S)
            except (sqlite3.Error, OSError) as error:
                raise self._failure("write", error) from error
        return [datetime.fromisoformat(timestamp) for (timestamp,) in times]

    def read(self, after: int = 0) -> Iterator[tuple[int, Interaction]]:
        """Give (sequence, event) in the order of the log, those with a sequence above `after`.

        Read in pages, so that a slow reader holds no lock and sees what is appended meanwhile.

        Raises:
            EventLogError: the file is not an event log, or SQLite cannot read it.
        """
        statement = self._with_added(_PAGE)
        while page := self._query(statement, (after, _PAGE_ROWS)):
            for sequence, event_id, user_id, item_id, event, value, timestamp, *shown in page:
                moment = datetime.fromisoformat(timestamp)
                yield sequence, Interaction(event_id, user_id, item_id, event, moment, value, *shown)
            after = page[-1][0]

    def since(self, moment: datetime) -> list[tuple[str, str, str, str, str | None, int | None]]:
        """The events from a moment on: user, item, kind, ISO 8601 time in UTC, recommendation_id, shown_position.

        Raises:
            EventLogError: the file is not an event log, or SQLite cannot read it.
        """
        return self._query(self._with_added(_SINCE), (_as_text(moment),))

    def count(self, after: int = 0) -> int:
        """How many events the log holds, of those with a sequence above `after`.

        Raises:
            EventLogError: the file is not an event log, or SQLite cannot read it.
        """
        rows = self._query("SELECT count(*) FROM events WHERE sequence > ?", (after,))
        return int(rows[0][0]) if rows else 0

    def last(self) -> int:
        """The sequence of the newest event that the log holds; 0 where it holds none.

        Raises:
            EventLogError: the file is not an event log, or SQLite cannot read it.
        """
        rows = self._query("SELECT max(sequence) FROM events")
        return int(rows[0][0] or 0) if rows else 0

    def newest(self) -> int:
        """The number that the newest event has at most, also of those that are gone; 0 of a log that nobody opened.

        Raises:
            EventLogError: the file is not an event log, or SQLite cannot read it.
        """
        rows = self._query("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    def born(self) -> int:
        """Tells this log from another at the same place; 0 of one that does not exist, or of an earlier release.

        Raises:
            EventLogError: the file is not an event log, or SQLite cannot read it.
        """
        rows = self._query("SELECT sequence FROM marks WHERE name = 'born'")
        return int(rows[0][0]) if rows else 0

    def pushed(self) -> int:
        """The sequence up to which the online store has the events; 0 before the first.

        Raises:
            EventLogError: the file is not an event log, or SQLite cannot read it.
        """
        rows = self._query("SELECT sequence FROM marks WHERE name = 'pushed'")
        return int(rows[0][0]) if rows else 0

    def mark_pushed(self, sequence: int) -> None:
        """Remember that the online store has everything up to `sequence`; a mark never goes back.

        Raises:
            EventLogError: SQLite cannot write.
        """
        with self._lock:
            try:
                writer = self._open_for_writing()
                # Losing this mark only means that some events are pushed twice: it need not wait for the disk.
                writer.execute("PRAGMA synchronous = NORMAL")
                try:
                    writer.execute(_MARK, (sequence,))
                finally:
                    writer.execute("PRAGMA synchronous = FULL")
            except (sqlite3.Error, OSError) as error:
                raise self._failure("write", error) from error

    def close(self) -> None:
        """Give the file back. A later append opens it again."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _refuse_forgotten(self, events: Sequence[Interaction]) -> None:
        for place, event in enumerate(events):
            if self._is_forgotten(event.user_id):
                raise UserRefused(
                    "Cannot keep the events",
                    got=f"events.{place}.user_id={event.user_id!r}",
                    expected="a user who was not forgotten",
                    do="Leave this user's events out",
                )

    def _with_added(self, statement: str) -> str:
        """A statement over every column; those that a log of an earlier release lacks are null."""
        there = {name for (name,) in self._query(_COLUMNS)}
        return statement.format(added=", ".join(name if name in there else "NULL" for name in _ADDED))

    def _query(self, statement: str, parameters: tuple = ()) -> list[tuple]:
        try:
            return query(self.path, "events", statement, parameters, _BUSY_TIMEOUT_S)
        except sqlite3.Error as error:
            raise self._failure("read", error) from error

    def _open_for_writing(self) -> sqlite3.Connection:
        if self._writer is not None and not self._is_there():
            # Deleted or replaced: what was written from now on would be gone with the last one that has it open.
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            writer = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            try:
                enter_wal(writer, _BUSY_TIMEOUT_S)
                writer.execute("PRAGMA synchronous = FULL")  # WAL's own default may lose the newest commits
                writer.execute("BEGIN IMMEDIATE")
                writer.execute(_TABLE)
                there = {name for (name,) in writer.execute(_COLUMNS)}
                for name in _ADDED.keys() - there:
                    writer.execute(f"ALTER TABLE events ADD COLUMN {name} {_ADDED[name]}")
                writer.execute(_MARK_TABLE)
                opened_us = time.time_ns() // 1000
                writer.execute(_BORN, (opened_us,))
                writer.execute(_FIRST_NUMBER)
                writer.execute(_RAISE_NUMBERS, (opened_us if self._above is None else self._above,))
                writer.execute("COMMIT")
            except BaseException:
                writer.close()
                raise
            self._writer, self._file = writer, self._file_now()
        return self._writer

    def _is_there(self) -> bool:
        return self._file is not None and self._file_now() == self._file

    def _file_now(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _failure(self, verb: str, error: Exception) -> EventLogError:
        return EventLogError(
            f"Cannot {verb} the event log",
            got=f"path={self.path}",
            expected=f"a SQLite event log, but {error}",
            do="Free room on the disk and send the events again"
            if is_disk_full(error)
            else "Check the disk and the file's rights; a damaged file must be moved away or restored",
        )


def _aware(event: Interaction) -> datetime:
    if event.timestamp.tzinfo is None:
        raise EventLogError(
            "Cannot write the event log",
            got=f"timestamp={event.timestamp.isoformat()}",
            expected="a time zone",
            where=f"event_id={event.event_id}",
            do="Give the time in UTC",
        )
    return event.timestamp


def _as_text(moment: datetime) -> str:
    """ISO 8601 in UTC with all six decimals, so that the texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
