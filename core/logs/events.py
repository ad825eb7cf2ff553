"""The durable log of what clients report: an event that was acknowledged is on the disk, once, for good.

The service appends, `validation` reads. Many threads and many processes may do both at once. Flows seal what is old:
it leaves the SQLite table for Parquet files beside it, and is read as before.

```
<shop>/events.sqlite    the events of the last weeks, and what is known of all of them
<shop>/events/          sealed segments (`core.logs.sealed`)
```
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import SommelierError
from core.logs.event_pages import FAULTS, EventPages, Page, iso_text, of_users, rows_in, users_in
from core.logs.event_table import BUSY_TIMEOUT_S, connect
from core.logs.sealed import (
    SegmentsMissing,
    find_segments,
    iso_texts,
    last_sealed,
    list_segments,
    read_segment,
    remove_unfinished,
    rewrite_without,
    rows_of,
    table_of,
)
from core.logs.sealing import hash_of, remove_strays, seal
from core.logs.wal import query, scrub
from core.storage import exclusively, is_disk_full
from core.timing.clock import CLOCK

MIN_SEALED = 10_000
_MARK = """
INSERT INTO marks (name, sequence) VALUES ('pushed', ?)
ON CONFLICT (name) DO UPDATE SET sequence = max(sequence, excluded.sequence)
"""
_INSERT = """
INSERT INTO events (event_id, user_id, item_id, event, value, timestamp, received_at, recommendation_id, shown_position)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM sealed_ids WHERE id = ?)
ON CONFLICT (event_id) DO NOTHING
"""
_SINCE = ("user_id", "item_id", "event", "timestamp", "recommendation_id", "shown_position")
_THEIRS = "SELECT sequence, timestamp FROM events WHERE is_gone(user_id)"


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
    """Events, one per event id, to which events are only added, but for those of the forgotten that go.

    The newest are rows of a SQLite table, older ones may be sealed; every reader gets them as one log. The file is made
    by the first append; a log that does not exist reads as empty. Events get their sequence in the order in which they
    were committed, so a reader that remembers the last one misses nothing.

    Whoever opens the log for writing goes on above the microseconds since 1970: a log that was deleted, or put back
    from a copy, never gives a number again that a feature row may hold already.

    Args:
        path: The file; segments lie in a folder beside it, with its name without the ending.
        is_forgotten: Whether nothing of a user may be kept; asked of every event while nobody else can write.
        above: The number to go on above in place of that.
    """

    def __init__(
        self, path: Path, is_forgotten: Callable[[str], bool] = lambda _: False, *, above: int | None = None
    ) -> None:
        self.path, self.sealed = path, path.with_suffix("")
        self._pages = EventPages(path, self.sealed)
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
        received_at = iso_text(CLOCK.now())
        rows = [
            (
                *(e.event_id, e.user_id, e.item_id, e.event, e.value, iso_text(_aware(e)), received_at),
                *(e.recommendation_id, e.shown_position, hash_of(e.event_id)),
            )
            for e in events
        ]
        if not rows:
            return []
        with self._saying("write"), self._lock:
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
        return [event for event, new in zip(events, is_new, strict=True) if new]

    def seal(self, before: datetime, *, at_least: int = MIN_SEALED) -> int:
        """Move events that were received before a moment into segments, and give their room in the table back.

        Others append and read meanwhile. Who is killed here, or meets a full disk, has lost nothing: the next call goes
        on there, as it does where there is more than one call moves.

        Args:
            at_least: Fewer events than these stay in the table, so that segments do not get many and small.
        Returns:
            How many events left the table.
        Raises:
            EventLogError: something cannot be read or written, or segments are missing.
        """
        if not self.exists():
            return 0
        with self._saying("seal"), self._alone(), closing(self._connect(above=0)) as connection:
            # Where power is lost, rows may be back: their segment was on the disk before.
            connection.execute("PRAGMA synchronous = NORMAL")
            return seal(connection, self.sealed, iso_text(before), iso_text(CLOCK.now()), at_least)

    def erase(self, is_gone: Callable[[str], bool]) -> list[datetime]:
        """Remove the events of users, and every trace of them in the files; the numbers of the others stay.

        Args:
            is_gone: Whether a user's events go, asked with the id as it was logged.
        Returns:
            The times of those that were removed.
        Raises:
            EventLogError: something cannot be written, or somebody reads without end.
        """
        if not self.exists():
            return []
        with self._saying("write"), self._alone(), self._lock:
            remove_unfinished(self.sealed)
            theirs = [
                (segment, users, read_segment(segment).filter(of_users(users)))
                for segment in find_segments(self.sealed)
                if (users := users_in(read_segment(segment, columns=["user_id"]), is_gone))
            ]
            sealed = [row for _, _, found in theirs for row in rows_of(found)]
            times: dict[int, datetime] = {row[0]: row[6] for row in sealed}
            writer = self._open_for_writing()
            writer.create_function("is_gone", 1, lambda user: int(is_gone(str(user))))
            writer.execute("BEGIN IMMEDIATE")
            try:
                for sequence, timestamp in writer.execute(_THEIRS).fetchall():
                    times[sequence] = datetime.fromisoformat(timestamp)
                writer.execute("DELETE FROM events WHERE is_gone(user_id)")
                # While the segments still say which.
                writer.executemany("DELETE FROM sealed_ids WHERE id = ?", [(hash_of(row[1]),) for row in sealed])
                remove_strays(writer, self.sealed, gone=[row[0] for row in sealed])
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise
            for segment, users, _ in theirs:
                rewrite_without(segment, users)
            # Also where nothing was found: a process that was killed here had deleted the rows alone.
            scrub(writer, BUSY_TIMEOUT_S)
        return [times[sequence] for sequence in sorted(times)]

    def read(self, after: int = 0) -> Iterator[tuple[int, Interaction]]:
        """Give (sequence, event) in the order of the log, those with a sequence above `after`.

        Read in pages, so that a slow reader holds no lock and sees what is appended meanwhile.

        Raises:
            EventLogError: the file is not an event log, or something cannot be read.
        """
        with self._saying("read"):
            for page in self._pages.read(after):
                for sequence, event_id, user_id, item_id, event, value, moment, shown_by, place, _ in rows_in(page):
                    yield sequence, Interaction(event_id, user_id, item_id, event, moment, value, shown_by, place)

    def tables(self, after: int = 0) -> Iterator[pa.Table]:
        """The same as columns: tables of `core.logs.sealed.SCHEMA`, some thousands of events each.

        Raises:
            EventLogError: the file is not an event log, or something cannot be read.
        """
        with self._saying("read"):
            for page in self._pages.read(after):
                yield page if isinstance(page, pa.Table) else table_of(page)

    def since(self, moment: datetime) -> list[tuple[str, str, str, str, str | None, int | None]]:
        """The events from a moment on: user, item, kind, ISO 8601 time in UTC, recommendation_id, shown_position.

        Raises:
            EventLogError: the file is not an event log, or something cannot be read.
        """
        found: list[tuple[str, str, str, str, str | None, int | None]] = []
        with self._saying("read"):
            for page in self._pages.read(0, moment):
                found += _as_logged(page)
        return found

    def times_of(self, is_theirs: Callable[[str], bool]) -> list[datetime]:
        """When users did something.

        Args:
            is_theirs: Whether a user is one of them, asked with the id as it was logged.
        Raises:
            EventLogError: the file is not an event log, or something cannot be read.
        """
        times: list[datetime] = []
        with self._saying("read"):
            for page in self._pages.read():
                own = page.filter(of_users(users_in(page, is_theirs))) if isinstance(page, pa.Table) else page
                times += [row[6] for row in rows_in(own) if is_theirs(row[2])]
        return times

    def count(self, after: int = 0) -> int:
        """How many events the log holds, of those with a sequence above `after`.

        Raises:
            EventLogError: the file is not an event log, or something cannot be read.
        """
        with self._saying("read"):
            return self._pages.count(after)

    def last(self) -> int:
        """The sequence of the newest event that the log holds; 0 where it holds none.

        Raises:
            EventLogError: the file is not an event log, or something cannot be read.
        """
        with self._saying("read"):
            return self._pages.last()

    def newest(self) -> int:
        """The number that the newest event has at most, also of those that are gone; 0 of a log that nobody opened.

        Raises:
            EventLogError: the file is not an event log, or something cannot be read.
        """
        with self._saying("read"):
            return self._pages.newest()

    def exists(self) -> bool:
        """Whether there is anything of a log: the file, or segments of one that was lost."""
        return self.path.exists() or self.sealed.is_dir()

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
        with self._saying("write"), self._lock:
            writer = self._open_for_writing()
            # Losing this mark only means that some events are pushed twice: it need not wait for the disk.
            writer.execute("PRAGMA synchronous = NORMAL")
            try:
                writer.execute(_MARK, (sequence,))
            finally:
                writer.execute("PRAGMA synchronous = FULL")

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

    def _alone(self) -> AbstractContextManager[None]:
        """While nobody else seals or erases."""
        return exclusively(self.path.with_name(f"{self.path.name}.lock"))

    @contextmanager
    def _saying(self, verb: str) -> Iterator[None]:
        """Within the block, what cannot be read or written becomes the one error that says so."""
        try:
            yield
        except FAULTS as error:
            raise self._failure(verb, error) from error

    def _query(self, statement: str, parameters: tuple = ()) -> list[tuple]:
        with self._saying("read"):
            return query(self.path, "events", statement, parameters, BUSY_TIMEOUT_S)

    def _open_for_writing(self) -> sqlite3.Connection:
        if self._writer is not None and not self._is_there():
            # Deleted or replaced: what was written from now on would be gone with the last one that has it open.
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer, self._file = self._connect(self._above), self._file_now()
        return self._writer

    def _connect(self, above: int | None = None) -> sqlite3.Connection:
        # Whether one is missing is for those to say who read them: new events are taken in all the same.
        return connect(self.path, last_sealed(list_segments(self.sealed)), above)

    def _is_there(self) -> bool:
        return self._file is not None and self._file_now() == self._file

    def _file_now(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _failure(self, verb: str, error: Exception) -> EventLogError:
        if isinstance(error, SegmentsMissing):
            return EventLogError(
                f"Cannot {verb} the event log",
                got=f"path={self.sealed}",
                expected=f"all its sealed segments, but {error}",
                do="Put the missing files back from a copy",
            )
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


def _as_logged(page: Page) -> Iterator[tuple[Any, ...]]:
    """Rows of the columns `_SINCE`, with their moment as text."""
    if isinstance(page, pa.Table):
        texts = {"timestamp": iso_texts(page["timestamp"])}
        return zip(*(texts.get(name, page[name]).to_pylist() for name in _SINCE), strict=True)
    return ((*row[2:5], *row[6:9]) for row in page)
