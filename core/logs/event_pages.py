"""Reading the event log: what is sealed and then what is in the table, each event once, also while some is sealed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from core.logs.event_table import ADDED, BUSY_TIMEOUT_S, COLUMNS, COLUMNS_THERE, SEALED_MARK
from core.logs.sealed import (
    Segment,
    SegmentsMissing,
    count_rows,
    find_segments,
    last_sealed,
    read_segment,
    require_segments,
    rows_of,
    table_of,
    with_live,
)
from core.logs.wal import query, snapshot

FAULTS = (sqlite3.Error, OSError, pa.ArrowException, SegmentsMissing)
_PAGE_ROWS = 10_000
_LAST = 2**63 - 1
_PAGE = """
SELECT {columns} FROM events WHERE sequence > ? AND sequence <= ? AND timestamp >= ? ORDER BY sequence LIMIT ?
"""

# Events of a segment, or rows of the table as they are.
Page: TypeAlias = "pa.Table | list[tuple[Any, ...]]"


class EventPages:
    """What the two parts of a log hold, as one.

    Its errors are those of `FAULTS`.

    Args:
        path: The SQLite file.
        sealed: The folder of segments.
    """

    def __init__(self, path: Path, sealed: Path) -> None:
        self._path, self._sealed = path, sealed

    def read(self, after: int = 0, since: datetime | None = None) -> Iterator[Page]:
        """Pages in the order of the log: segments, then rows of the table; some may be empty.

        Args:
            after: Only events with a higher number.
            since: Only those from this moment on.
        """
        sealed_to = 0
        while True:
            segments = [segment for segment in find_segments(self._sealed) if segment.last > after]
            if sealed_to > after and not segments:
                raise SegmentsMissing(f"events {after + 1} to {sealed_to} are in none")
            mark = self._mark() if segments else 0
            for segment in segments:
                # Asked before the file: what leaves the table is there.
                live = [] if segment.last <= mark else self._live(after, since, segment.last, -1)[1]
                found = read_segment(segment, after, since)
                yield with_live(found, table_of(live)) if live else found
                after = segment.last
            while True:
                sealed_to, page = self._live(after, since)
                if sealed_to > after:
                    break  # sealed meanwhile, and not read yet
                if not page:
                    return
                yield page
                after = page[-1][0]

    def count(self, after: int = 0) -> int:
        """How many events have a higher number."""
        while True:
            mark = self._mark()
            segments = find_segments(self._sealed)
            end = max(after, require_segments(segments, mark) if mark > after else last_sealed(segments))
            n_sealed = sum(self._count_in(segment, after, mark) for segment in segments if segment.last > after)
            with snapshot(self._path, "events", BUSY_TIMEOUT_S) as reader:
                if reader is None:
                    return n_sealed
                if _mark_of(reader) > end:
                    continue  # more was sealed meanwhile
                ((n_live,),) = reader.execute("SELECT count(*) FROM events WHERE sequence > ?", (end,)).fetchall()
                return n_sealed + int(n_live)

    def last(self) -> int:
        """The number of the newest event; 0 for none."""
        rows = query(self._path, "events", "SELECT max(sequence) FROM events", (), BUSY_TIMEOUT_S)
        newest = int(rows[0][0] or 0) if rows else 0
        # Asked after the table: what leaves it is there.
        for segment in reversed(find_segments(self._sealed)):
            if segment.last <= newest:
                break
            found = read_segment(segment, newest, columns=["sequence"])
            if found.num_rows:
                return int(found["sequence"][-1].as_py())
        return newest

    def newest(self) -> int:
        """The number that the newest event has at most, also of those that are gone; 0 of a log that nobody opened."""
        rows = query(self._path, "events", "SELECT seq FROM sqlite_sequence WHERE name = 'events'", (), BUSY_TIMEOUT_S)
        return max(int(rows[0][0]) if rows else 0, last_sealed(find_segments(self._sealed)))

    def _live(
        self, after: int, since: datetime | None, last: int = _LAST, limit: int = _PAGE_ROWS
    ) -> tuple[int, list[tuple[Any, ...]]]:
        """The mark of what is sealed, and rows of the table with numbers above `after` up to `last`, of one moment."""
        with snapshot(self._path, "events", BUSY_TIMEOUT_S) as reader:
            if reader is None:
                return 0, []
            there = {name for (name,) in reader.execute(COLUMNS_THERE)}
            columns = ", ".join(
                name if name in there or name not in ADDED else f"NULL AS {name}" for name in COLUMNS.split(", ")
            )
            parameters = (after, last, "" if since is None else iso_text(since), limit)
            return _mark_of(reader), reader.execute(_PAGE.format(columns=columns), parameters).fetchall()

    def _count_in(self, segment: Segment, after: int, mark: int) -> int:
        if segment.last <= mark and segment.first > after:
            return count_rows(segment)
        _, live = self._live(max(after, segment.first - 1), None, segment.last, -1)
        return int(with_live(read_segment(segment, after, columns=["sequence"]), table_of(live)).num_rows)

    def _mark(self) -> int:
        with snapshot(self._path, "events", BUSY_TIMEOUT_S) as reader:
            return 0 if reader is None else _mark_of(reader)


def iso_text(moment: datetime) -> str:
    """ISO 8601 in UTC with all six decimals, so that the texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def rows_in(page: Page) -> Iterator[tuple[Any, ...]]:
    """The rows of a page, with moments as `datetime` in UTC."""
    if isinstance(page, pa.Table):
        return rows_of(page)
    return ((*row[:6], datetime.fromisoformat(row[6]), *row[7:]) for row in page)


def users_in(events: pa.Table, is_one: Callable[[str], bool]) -> list[str]:
    """Those of the users of events that a function says yes to; it is asked once for each."""
    return [user for user in pc.unique(events["user_id"]).to_pylist() if is_one(user)]


def of_users(users: Collection[str]) -> pc.Expression:
    """The condition on a row that it is of one of some users."""
    return pc.field("user_id").isin(pa.array(list(users), pa.string()))


def _mark_of(reader: sqlite3.Connection) -> int:
    """0 also of a log of an earlier release, which has no marks."""
    if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'marks'").fetchone():
        return 0
    row = reader.execute(SEALED_MARK).fetchone()
    return int(row[0]) if row else 0
