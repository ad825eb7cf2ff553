"""The records of one answer in the prediction log, looked for around the moment that its id was given at.

Ids of answers and names of segments sort by time, so that few segments can hold an answer: those that were written at
the time. Where a clock jumped it may lie elsewhere, so all others come after them, the nearest first. Lines are parsed
only where they hold the id.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from core.ids import moment_of_id
from core.logs.pruning import segments_of

# Between two pieces others get the interpreter, and the time is looked at.
_PIECE_BYTES = 1 << 20
# Shadows answer after what was shown, and may be the first lines of the segment after.
_BESIDE = timedelta(minutes=10)
_NONE = timedelta()


class SearchTimeout(Exception):
    """The time for a search is over."""


@dataclass(frozen=True)
class Search:
    """What was found of an answer.

    Attributes:
        records: Its lines; empty where the log does not have it, or it was not found in time.
        read: Segments that were looked into.
        since, until: Of what these hold; None where nothing was read.
        unread: How many segments were left as the time was over.
    """

    records: list[dict[str, Any]]
    read: int
    since: datetime | None
    until: datetime | None
    unread: int


@dataclass(frozen=True)
class _Span:
    """A segment, when it was begun, and when it was last written to. A clock that was set back puts these in any
    order.
    """

    segment: Path
    begun: datetime
    written: datetime

    @classmethod
    def of(cls, segment: Path) -> Self | None:
        """None of one that is gone."""
        try:
            written = datetime.fromtimestamp(segment.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None
        return cls(segment, moment_of_id(segment.stem) or written, written)

    def distance(self, moment: datetime | None) -> timedelta:
        """How far a moment is from the segment's time; of none, how old the segment is."""
        if moment is None:
            return datetime.max.replace(tzinfo=UTC) - self.written
        first, last = sorted((self.begun, self.written))
        return max(first - moment, moment - last, _NONE)


def find_records(folder: Path, recommendation_id: str, within_s: float | None = None) -> Search:
    """Find the records of an answer, and stop as soon as they are found.

    Args:
        folder: Of the log.
        recommendation_id: Of the answer.
        within_s: The search ends after so many seconds; None for no limit.
    """
    ends_at = None if within_s is None else time.monotonic() + within_s
    moment = moment_of_id(recommendation_id)
    spans = [span for span in map(_Span.of, segments_of(folder)) if span is not None]
    spans.sort(key=lambda one: (one.distance(moment), datetime.max.replace(tzinfo=UTC) - one.begun))
    left, read, records = spans, list[_Span](), list[dict[str, Any]]()
    try:
        while left:
            span, *left = left
            found = _records_in(span.segment, recommendation_id, ends_at)
            read.append(span)
            records += found
            if any(one.get("role") != "shadow" for one in found):
                # Only what was begun after the answer can hold the rest; a process gives its ids in order.
                given = moment or span.written
                left = [one for one in left if given <= one.begun <= given + _BESIDE]
    except SearchTimeout:
        left = [span, *left]
    return Search(
        records,
        read=len(read),
        since=min((min(one.begun, one.written) for one in read), default=None),
        until=max((max(one.begun, one.written) for one in read), default=None),
        unread=len(left),
    )


def _records_in(segment: Path, recommendation_id: str, ends_at: float | None) -> list[dict[str, Any]]:
    found = []
    for line in _lines_with(segment, json.dumps(recommendation_id).encode(), ends_at):
        try:
            record = json.loads(line)
        except ValueError:
            continue  # cut short by a killed process, or still being written
        if isinstance(record, dict) and record.get("recommendation_id") == recommendation_id:
            found.append(record)
    return found


def _lines_with(segment: Path, text: bytes, ends_at: float | None) -> Iterator[bytes]:
    rest = b""
    try:
        with segment.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                if ends_at is not None and time.monotonic() >= ends_at:
                    raise SearchTimeout
                block = rest + piece
                end = block.rfind(b"\n") + 1
                rest = block[end:]
                place = block.find(text, 0, end)
                while place >= 0:
                    after = block.index(b"\n", place)
                    yield block[block.rfind(b"\n", 0, place) + 1 : after]
                    place = block.find(text, after, end)
    except FileNotFoundError:
        return  # too old, and removed meanwhile
    if text in rest:
        yield rest
