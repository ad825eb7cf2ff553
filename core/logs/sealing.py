"""Moving events of long ago out of the log's table into sealed segments, while others append and read.

First a segment is on the disk, then its rows leave the table, some at a time: with each of these transactions the mark
`sealed` moves to the last of them, and their ids stay as hashes. A process that is killed anywhere leaves rows that are
in the table and in a segment; readers take each number once, and the next one who seals goes on there.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from core.logs.event_table import COLUMNS, SEALED_MARK
from core.logs.sealed import (
    Segment,
    count_rows,
    find_segments,
    read_segment,
    remove_unfinished,
    require_segments,
    table_of,
    with_live,
    write_segment,
)

SEGMENT_ROWS = 100_000
MOST_ROWS = 500_000  # that are sealed in one call, for which whoever calls waits some minutes
_PAGE_ROWS = 10_000
_BATCH_ROWS = 2_000  # that leave the table in one transaction, in which nobody can append
_FREED_PAGES = 256
_MAX_COPIED_BYTES = 64_000_000
_MOVE_MARK = """
INSERT INTO marks (name, sequence) VALUES ('sealed', ?) ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence
"""
_FIRST_YOUNG = (
    "SELECT sequence FROM events WHERE sequence > ? AND received_at >= ? AND received_at <= ? ORDER BY sequence LIMIT 1"
)
_LAST_OLD = (
    "SELECT sequence FROM events WHERE sequence > ? AND sequence < ? AND received_at < ? ORDER BY sequence DESC LIMIT 1"
)
_AFTER_ALL = 2**63 - 1
_NTH = "SELECT sequence FROM events WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT 1 OFFSET ?"
_PAGE = f"SELECT {COLUMNS} FROM events WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT {_PAGE_ROWS}"


def seal(connection: sqlite3.Connection, folder: Path, before: str, now: str, at_least: int) -> int:
    """Move what was received before a moment, if it is enough for a segment; nobody else may seal or erase meanwhile.

    Args:
        connection: To the log, in autocommit.
        folder: Of its segments.
        before: ISO 8601, as the log has it.
        now: The same. What was received later than that, by a clock that was ahead, is as old as what follows it.
        at_least: Fewer events stay where they are.
    Returns:
        How many rows left the table.
    Raises:
        SegmentsMissing, sqlite3.Error, OSError, pa.ArrowException: something cannot be read or written.
    """
    remove_unfinished(folder)
    end = require_segments(find_segments(folder), sealed_mark(connection))
    cut = _ripe_until(connection, end, before, now)
    cut = _number(connection, _NTH, (end, cut, MOST_ROWS - 1)) or cut
    ((n_ripe,),) = connection.execute(
        "SELECT count(*) FROM events WHERE sequence > ? AND sequence <= ?", (end, cut)
    ).fetchall()
    if n_ripe >= max(at_least, 1):
        while end < cut:
            last = _number(connection, _NTH, (end, cut, SEGMENT_ROWS - 1)) or cut
            write_segment(folder, end + 1, last, _pages(connection, end, last))
            end = last
    mark = sealed_mark(connection)
    moved = sum(_settle(connection, segment) for segment in find_segments(folder) if segment.last > mark)
    if moved:
        _give_back(connection)
    return moved


def sealed_mark(connection: sqlite3.Connection) -> int:
    """The number up to which no event is in the table any more; 0 before the first."""
    return _number(connection, SEALED_MARK) or 0


def remove_strays(connection: sqlite3.Connection, folder: Path, gone: Sequence[int]) -> None:
    """Remove hashes of ids that no segment holds: a copy of the table that was put back has those of who was forgotten
    since it was made.

    Args:
        connection: To the log, in a transaction.
        folder: Of its segments.
        gone: The numbers of events that are about to leave the segments.
    """
    segments = find_segments(folder)
    if _number(connection, "SELECT count(*) FROM sealed_ids") == sum(map(count_rows, segments)) - len(gone):
        return
    left = pa.array(gone, pa.int64())
    held: set[int] = set()
    for segment in segments:
        events = read_segment(segment, columns=["sequence", "event_id"])
        held.update(map(hash_of, events.filter(pc.invert(pc.is_in(events["sequence"], left)))["event_id"].to_pylist()))
    connection.create_function("is_sealed", 1, lambda one: int(one in held))
    connection.execute("DELETE FROM sealed_ids WHERE NOT is_sealed(id)")


def hash_of(event_id: str) -> int:
    """What the log keeps of the id of a sealed event: 64 bits of its BLAKE2b digest, signed."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "big", signed=True)


def _ripe_until(connection: sqlite3.Connection, end: int, before: str, now: str) -> int:
    """The last event that is old enough, of those before the first that is not; `end` where there is none."""
    young = _number(connection, _FIRST_YOUNG, (end, before, now)) or _AFTER_ALL
    return _number(connection, _LAST_OLD, (end, young, before)) or end


def _pages(connection: sqlite3.Connection, after: int, last: int) -> Iterator[pa.Table]:
    while rows := connection.execute(_PAGE, (after, last)).fetchall():
        yield table_of(rows)
        after = rows[-1][0]


def _settle(connection: sqlite3.Connection, segment: Segment) -> int:
    """Have a segment's rows leave the table; where the table has more within its numbers, they join it first.

    It has more where a copy of the table was put back that other events were appended to. Where the table is another
    one, it learns which events are sealed.
    """
    mark = sealed_mark(connection)
    held = read_segment(segment, columns=["sequence", "event_id"])
    live = pa.array(
        [
            number
            for (number,) in connection.execute("SELECT sequence FROM events WHERE sequence <= ?", (segment.last,))
        ],
        pa.int64(),
    )
    if not pc.all(pc.is_in(live, held["sequence"]), min_count=0).as_py():
        pages = list(_pages(connection, 0, segment.last))
        write_segment(
            segment.path.parent,
            segment.first,
            segment.last,
            [with_live(read_segment(segment), pa.concat_tables(pages))],
        )
        held = read_segment(segment, columns=["sequence", "event_id"])
    held = held.filter(pc.greater(held["sequence"], mark))
    for start in range(0, held.num_rows, _BATCH_ROWS):
        batch = held.slice(start, _BATCH_ROWS)
        _leave(connection, batch["event_id"].to_pylist(), batch["sequence"][-1].as_py())
    _leave(connection, [], segment.last)
    return len(live)


def _leave(connection: sqlite3.Connection, event_ids: Sequence[str], last: int) -> None:
    """One transaction: rows leave the table, the mark moves, their ids stay as hashes; then others have their turn."""
    hashes = sorted((hash_of(one),) for one in event_ids)
    began = time.monotonic()
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("INSERT OR IGNORE INTO sealed_ids (id) VALUES (?)", hashes)
        connection.execute("DELETE FROM events WHERE sequence <= ?", (last,))
        connection.execute(_MOVE_MARK, (last,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    time.sleep(time.monotonic() - began)


def _give_back(connection: sqlite3.Connection) -> None:
    """Give the room of what left the table back to the disk.

    A log of an earlier release can only be copied for that: one that would take long keeps its size, and fills the room
    again.
    """
    if _number(connection, "PRAGMA auto_vacuum"):
        while _number(connection, "PRAGMA freelist_count"):
            began = time.monotonic()
            connection.execute(f"PRAGMA incremental_vacuum({_FREED_PAGES})").fetchall()
            time.sleep(time.monotonic() - began)
        return
    pages, free, size = (
        _number(connection, f"PRAGMA {name}") or 0 for name in ("page_count", "freelist_count", "page_size")
    )
    if free > pages // 2 and (pages - free) * size <= _MAX_COPIED_BYTES:
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # in use: it keeps its size
                raise


def _number(connection: sqlite3.Connection, statement: str, parameters: tuple[object, ...] = ()) -> int | None:
    row = connection.execute(statement, parameters).fetchone()
    return None if row is None or row[0] is None else int(row[0])
