"""Sealed segments of the event log: events of long ago, in Parquet files that follow each other without a gap.

```
<shop>/events/<first>-<last>.parquet     the events whose numbers lie within, both included; in their order
```
A segment is written once, and again only without those who are forgotten, each time as a whole. Which numbers it
stands for says its name, also where some or all of its events are gone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.storage import UNFINISHED, atomic_file, sync_folder

_MOMENT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("sequence", pa.int64()),
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("event", pa.string()),
        ("value", pa.float64()),
        ("timestamp", _MOMENT),
        ("recommendation_id", pa.string()),
        ("shown_position", pa.int64()),
        ("received_at", _MOMENT),
    ]
)
_GROUP_ROWS = 50_000
_ROWS = 10_000  # as Python objects at once
_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
_LAYOUT: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["user_id", "item_id", "event", "value", "shown_position"],
    "column_encoding": dict.fromkeys(("sequence", "timestamp", "received_at"), "DELTA_BINARY_PACKED"),
    "write_statistics": ["sequence", "timestamp"],
}


@dataclass(frozen=True)
class Segment:
    """One file, and the numbers that it stands for."""

    path: Path
    first: int
    last: int


class SegmentsMissing(Exception):
    """Between segments, or before them, is one that is not there."""


def find_segments(folder: Path) -> list[Segment]:
    """The segments in their order; none where the folder is not there.

    Raises:
        SegmentsMissing: they leave a gap.
    """
    found = list_segments(folder)
    for before, after in pairwise([Segment(folder, 0, 0), *found]):
        if after.first != before.last + 1:
            raise SegmentsMissing(f"events {before.last + 1} to {after.first - 1} are in none")
    return found


def list_segments(folder: Path) -> list[Segment]:
    """Those that are there, in their order."""
    try:
        names = [name for path in folder.iterdir() if (name := _NAME.fullmatch(path.name))]
    except FileNotFoundError:
        return []
    return sorted(
        (Segment(folder / name[0], int(name[1]), int(name[2])) for name in names), key=lambda segment: segment.first
    )


def require_segments(segments: Sequence[Segment], mark: int) -> int:
    """As `last_sealed`, of segments that have to go as far as a log's mark.

    Raises:
        SegmentsMissing: they do not.
    """
    last = last_sealed(segments)
    if mark > last:
        raise SegmentsMissing(f"events {last + 1} to {mark} are in none")
    return last


def last_sealed(segments: Sequence[Segment]) -> int:
    """The number up to which segments stand for all events; 0 for none."""
    return segments[-1].last if segments else 0


def read_segment(
    segment: Segment, after: int = 0, since: datetime | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The events of a segment, of `SCHEMA`, in their order.

    Args:
        after: Only those with a higher number.
        since: Only those from this moment on.
        columns: Of `SCHEMA`; all of them by default.
    """
    condition = None
    if after >= segment.first:
        condition = pc.field("sequence") > after
    if since is not None:
        recent = pc.field("timestamp") >= pa.scalar(since, _MOMENT)
        condition = recent if condition is None else condition & recent
    return pq.read_table(segment.path, columns=columns, filters=condition, partitioning=None)


def count_rows(segment: Segment) -> int:
    """How many events a segment holds."""
    return int(pq.read_metadata(segment.path).num_rows)


def with_live(sealed: pa.Table, live: pa.Table) -> pa.Table:
    """The events of a segment and those that are not sealed yet, each number once, in their order."""
    further = live.filter(pc.invert(pc.is_in(live["sequence"], sealed["sequence"])))
    if not further.num_rows:
        return sealed
    return pa.concat_tables([sealed, further.select(sealed.column_names)]).sort_by("sequence")


def write_segment(folder: Path, first: int, last: int, pages: Iterable[pa.Table]) -> Segment:
    """Write a segment, which is on the disk when this returns.

    Args:
        folder: Of the log's segments, made if missing.
        first, last: The numbers that it stands for.
        pages: Its events, in their order.
    """
    segment = Segment(folder / f"{first:020d}-{last:020d}.parquet", first, last)
    with (
        atomic_file(segment.path) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, **_LAYOUT) as file,
    ):
        waiting, n_waiting = [], 0
        for page in pages:
            waiting.append(page.cast(SCHEMA))
            n_waiting += page.num_rows
            if n_waiting >= _GROUP_ROWS:
                file.write_table(pa.concat_tables(waiting), row_group_size=_GROUP_ROWS)
                waiting, n_waiting = [], 0
        if waiting:
            file.write_table(pa.concat_tables(waiting), row_group_size=_GROUP_ROWS)
    return segment


def rewrite_without(segment: Segment, users: Collection[str]) -> None:
    """Write a segment anew without the events of users."""
    held = read_segment(segment)
    kept = held.filter(pc.invert(pc.is_in(held["user_id"], pa.array(list(users), pa.string()))))
    write_segment(segment.path.parent, segment.first, segment.last, [kept])


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written; nobody may write segments meanwhile."""
    left = list(folder.glob(f".*{UNFINISHED}"))
    for path in left:
        path.unlink(missing_ok=True)
    if left:
        sync_folder(folder)


def table_of(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Rows of `SCHEMA`, with moments as ISO 8601 texts, as columns."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [
        pa.array(map(datetime.fromisoformat, values) if field.type == _MOMENT else values, field.type)
        for field, values in zip(SCHEMA, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def rows_of(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows of a table, with moments as `datetime` in UTC."""
    for batch in table.to_batches(max_chunksize=_ROWS):
        columns = [
            [moment.replace(tzinfo=UTC) for moment in column.cast(pa.timestamp("us")).to_pylist()]
            if column.type == _MOMENT
            else column.to_pylist()
            for column in batch.columns
        ]
        yield from zip(*columns, strict=True)


def iso_texts(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """Moments as ISO 8601 in UTC, with all six decimals."""
    plain = moments.cast(pa.timestamp("us")).cast(pa.string())
    return pc.binary_join_element_wise(pc.replace_substring(plain, " ", "T"), "+00:00", "")
