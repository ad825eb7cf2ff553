"""The prediction log: who was shown what, by which bundle, and how likely that was. One record per answer.

```
<shop>/predictions/<id>.jsonl        segments, a JSON object per line; each process writes its own, one after another
<shop>/predictions/exported/         what was exported as Parquet
<shop>/predictions/kept/             what figures of experiments need of segments that went (`monitoring.online.kept`)
<shop>/predictions/lost.json         up to when answers went with segments that were removed (`core.logs.pruning`)
```
Records are written by a thread of their own, off the path of the answers: a batch is on the disk `flush_s` and one
fsync after its first. When more wait than the queue takes, the answer is given all the same; how many were dropped is
counted, and a line of the log says so, with when the first of them was asked for. So it is where nothing can be
written: that is tried again ever more rarely, and what a write left behind is taken back. Segments go, the oldest
first, when they are too old or too many bytes: one that is dated in the future counts as the oldest, and the one that
is being written stays.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, NamedTuple

from pydantic_core import to_json

from core.ids import time_ordered_id
from core.logs.pruning import LOCK, SUFFIX, Keeper, prune_segments, segments_of
from core.storage import atomic_file, exclusively, sync_folder, together

logger = logging.getLogger(__name__)

EXPORTED = "exported"
PINNED = "pin:"  # how the rule of a pinned place begins
_DAY_S = 24 * 3600
_SEGMENTS = 16  # that the bytes of the log are made of, at least
_MAX_SEGMENT_BYTES = 64_000_000
_TIDY_EVERY_S = 600.0
_CLOSE_S = 5.0
_FIRST_WAIT_S = 0.5  # after a write that failed; twice as long after each further one
_LONGEST_WAIT_S = 60.0

# shown: to whoever asked. shadow: computed beside it, and never shown. preview: looked at by those who run the shop.
# failed: what an experiment chose to answer could not; without items, and nobody was told its recommendation_id.
Role = Literal["shown", "shadow", "preview", "failed"]
# What the split is made by. request: of somebody without any id, who may see another variant the next time.
Unit = Literal["user", "visitor", "request"]
Outcome = Literal["written", "dropped", "forgotten"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer: a list of items, best first. A line of the log has these names.

    Attributes:
        recommendation_id: Of the answer; that of a shadow is that of the answer beside which it was computed.
        at: When it was asked for, ISO 8601, UTC.
        endpoint: Where.
        model: The bundle that answered, name:version.
        items: Their ids; the first has position 1.
        scores: Of the items, as the answer has them.
        parts: What put each item there; empty where the answer does not say.
        rules: What rules of the request did to each place: `pin:ID`, or `boost:ID` and `bury:ID`, joined by blanks. The
            id is the rule's own, or its number among those of its kind. Empty where no rule touched any.
        propensities: How likely each item was to stand where it does, given those above it; None where none was drawn.
        user_id, visitor_id: Who asked, if they said so.
        experiment: That decided which bundle answers; empty where none did.
        variant: Of the experiment; that of the bundle in service has a name of its own.
        instead_of: In whose place the bundle in service answered, experiment/variant, as that one failed; else empty.
        unit: What the variant was decided by.
        k: How many items were asked for.
        seed: Of what was drawn; None where nothing was.
        seed_given: Whether the client named the seed. Then the list followed from it, and propensities are no chances.
        filtered: Whether the request said which items may be shown: by filters, ids, or what counts as
            seen; of `/v1/recommend`.
        cold_start: Whether nothing was known of the user.
        degraded: What could not be read for it, as the answer has it.
        took_ms: To compute it, with all that were computed together.
        together: Lists that were: each waited for all of them.
        overlap: Of a shadow: the share of the shown items that it has too; None of a list of pinned items alone.
        rank_correlation: Of a shadow: Spearman's, of the items that both have; None for fewer than two.
        request_id: Of the request that was answered, as the service's log has it.
        failure: What it failed with, the name of the error; empty where it did not.
        is_shadow: Of a list that failed: whether a shadow was to make it, so that nobody went without.
        features: What the ranker read of the user's online features, cut short; None of nobody in particular, of what
            was not shown, and where they are not kept.
    """

    recommendation_id: str
    at: str
    endpoint: str
    model: str
    items: Sequence[str]
    scores: Sequence[float]
    parts: Sequence[str] = ()
    rules: Sequence[str] = ()
    propensities: Sequence[float | None] | None = None
    user_id: str | None = None
    visitor_id: str | None = None
    experiment: str = ""
    variant: str = ""
    instead_of: str = ""
    unit: Unit = "request"
    role: Role = "shown"
    k: int = 0
    seed: int | None = None
    seed_given: bool = False
    filtered: bool = False
    cold_start: bool = False
    degraded: Sequence[str] = ()
    took_ms: float = 0.0
    together: int = 1
    overlap: float | None = None
    rank_correlation: float | None = None
    request_id: str | None = None
    failure: str = ""
    is_shadow: bool = False
    features: Mapping[str, Any] | None = None


class _Drops(NamedTuple):
    """Records that were not written: how many, and when the first of them was asked for, ISO 8601, UTC."""

    number: int
    since: str


_NONE = _Drops(0, "")


class PredictionLog:
    """Writes predictions from a thread of its own. Safe to add to from many threads.

    Args:
        folder: Of the shop's log.
        max_bytes: That all segments have together, about; the oldest go.
        days: A segment that was last written to so long ago goes.
        max_waiting: Records that may wait; one more is dropped.
        flush_s: How long a record waits for others, seconds: they share one fsync.
        is_forgotten: Whether nothing of a user or visitor may be kept; asked of each before it is written.
        count: Told what became of how many.
        keeper: Takes from segments that go what is needed for longer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        days: float,
        max_waiting: int,
        flush_s: float,
        is_forgotten: Callable[[str], bool] = lambda _: False,
        count: Callable[[Outcome, int], None] = lambda *_: None,
        keeper: Keeper | None = None,
    ) -> None:
        self.folder = folder
        self._max_bytes, self._days, self._max_waiting, self._flush_s = max_bytes, days, max_waiting, flush_s
        self._segment_bytes = min(max(max_bytes // _SEGMENTS, 1), _MAX_SEGMENT_BYTES)
        self._is_forgotten, self._count, self._keeper = is_forgotten, count, keeper
        self._queue: SimpleQueue[Prediction | threading.Event | None] = SimpleQueue()
        self._dropped = _NONE
        self._drops = threading.Lock()
        self._segment: Path | None = None
        self._opened = self._tidied = 0.0
        self._wait_s = self._retry_at = 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._pruning: threading.Thread | None = None
        self._cannot_prune = False

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, prediction: Prediction) -> bool:
        """Have a record written soon; False where the queue is full: it is dropped, and counted."""
        if self._queue.qsize() >= self._max_waiting:
            self._drop([prediction])
            return False
        self._queue.put(prediction)
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was added before is on the disk; False if it is not within the time."""
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout_s)

    def close(self) -> None:
        """Write what waits, and end the threads."""
        self._closing.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout=_CLOSE_S)
        if self._pruning is not None:  # the last one, which that thread began at its end
            self._pruning.join(timeout=_CLOSE_S)

    def _run(self) -> None:
        ends = False
        while not ends:
            self._tidy()
            try:
                first = self._queue.get(timeout=_TIDY_EVERY_S)
            except Empty:
                continue
            if isinstance(first, Prediction):
                self._closing.wait(self._flush_s)  # others may come to share the fsync
            taken = [first, *self._drain()]
            ends = None in taken
            self._write([one for one in taken if isinstance(one, Prediction)])
            for one in taken:
                if isinstance(one, threading.Event):
                    one.set()
        if self._pruning is not None:
            self._pruning.join()
        self._tidy()

    def _drain(self) -> Iterator[Prediction | threading.Event | None]:
        with suppress(Empty):
            for _ in range(self._max_waiting):
                yield self._queue.get_nowait()

    def _write(self, batch: list[Prediction]) -> None:
        """Append a batch; one that cannot be written is dropped: an answer is worth more than its record."""
        dropped = self._take_drops()
        if not batch and not dropped.number:
            return
        if self._wait_s and time.monotonic() < self._retry_at and not self._closing.is_set():
            self._restore_drops(dropped)
            self._drop(batch)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Whoever forgets somebody writes that down first, and then waits for this lock to rewrite segments.
            with together(self.folder / LOCK):
                kept = [one for one in batch if not self._is_of_forgotten(one)]
                lines = [to_json(one) for one in kept]
                if dropped.number:
                    span = {"dropped_since": dropped.since, "at": datetime.now(UTC).isoformat()}
                    lines.append(to_json({"dropped": dropped.number, **span}))
                if lines:
                    self._append(b"\n".join(lines) + b"\n")
        except BaseException:  # whatever it is, the next batch needs this thread
            self._restore_drops(dropped)
            self._drop(batch)
            if not self._wait_s:
                logger.exception("Cannot write the prediction log; answers are given all the same, and not recorded")
            self._wait_s = min(2 * self._wait_s or _FIRST_WAIT_S, _LONGEST_WAIT_S)
            self._retry_at = time.monotonic() + self._wait_s
            return
        if self._wait_s:
            logger.warning("The prediction log can be written again")
            self._wait_s = 0.0
        for outcome, number in (("written", len(kept)), ("forgotten", len(batch) - len(kept))):
            if number:
                self._tell(outcome, number)  # type: ignore[arg-type]

    def _append(self, content: bytes) -> None:
        self._end_segment_of_yesterday()
        # One that was removed meanwhile does not come back: what was taken from it before would not be all of it.
        if self._segment is None or not self._segment.exists():
            self._segment, self._opened = self.folder / f"{time_ordered_id()}{SUFFIX}", time.monotonic()
        # Opened anew for each batch: it may have been rewritten meanwhile. Unbuffered: what a full disk refuses must
        # not be written once more where the file is closed.
        with self._segment.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                _write_all(file, content)
                os.fsync(file.fileno())
                if not before:
                    sync_folder(self.folder)
            except OSError:
                self._take_back(file, before)
                raise
            size = before + len(content)
        if size >= self._segment_bytes:
            self._segment = None
            self._tidied = 0.0

    def _take_back(self, file: FileIO, size: int) -> None:
        """Leave no line cut short, and no new file for each try."""
        try:
            file.truncate(size)
            if not size and self._segment is not None:
                self._segment.unlink(missing_ok=True)
        except OSError:
            self._segment = None  # may end within a line

    def _tidy(self) -> None:
        is_over = self._pruning is None or not self._pruning.is_alive()
        if not is_over or (self._tidied and time.monotonic() - self._tidied < _TIDY_EVERY_S):
            return
        self._tidied = time.monotonic()
        self._end_segment_of_yesterday()
        # Beside the writing: to take from segments what is needed of them may take seconds.
        pruning = threading.Thread(
            target=self._prune, args=(self._segment,), name="prediction-log-pruning", daemon=True
        )
        try:
            pruning.start()
        except RuntimeError:  # where the system gives no more threads; it is tried again with the next tidying
            if not self._cannot_prune:
                logger.exception("Old segments of the prediction log are not removed for now")
            self._cannot_prune = True
        else:
            self._pruning, self._cannot_prune = pruning, False

    def _prune(self, writing: Path | None) -> None:
        try:
            prune_segments(self.folder, self._max_bytes - self._segment_bytes, self._days, writing, self._keeper)
        except BaseException:
            logger.exception("Old segments of the prediction log cannot be removed")

    def _end_segment_of_yesterday(self) -> None:
        if time.monotonic() - self._opened > _DAY_S:
            self._segment = None

    def _is_of_forgotten(self, prediction: Prediction) -> bool:
        return any(one is not None and self._is_forgotten(one) for one in (prediction.user_id, prediction.visitor_id))

    def _drop(self, records: Sequence[Prediction]) -> None:
        if records:
            self._restore_drops(_Drops(len(records), min(one.at for one in records)))
            self._tell("dropped", len(records))

    def _restore_drops(self, drops: _Drops) -> None:
        with self._drops:
            since = min(filter(None, (self._dropped.since, drops.since)), default="")
            self._dropped = _Drops(self._dropped.number + drops.number, since)

    def _tell(self, outcome: Outcome, number: int) -> None:
        with suppress(Exception):  # a figure that cannot be kept, as of a full disk, stops no log
            self._count(outcome, number)

    def _take_drops(self) -> _Drops:
        with self._drops:
            taken, self._dropped = self._dropped, _NONE
        return taken


def _write_all(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def read_predictions(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the log in the order of the segments; one that was cut short by a killed process is left out."""
    for segment in segments_of(folder):
        with suppress(FileNotFoundError), segment.open("rb") as lines:
            for line in lines:
                record = _parsed(line)
                if record is not None:
                    yield record


def erase_predictions(folder: Path, is_gone: Callable[[str], bool]) -> int:
    """Rewrite the segments without the records of users or visitors; a running service goes on writing behind them.

    Args:
        is_gone: Whether a user's or a visitor's records go.
    Returns:
        How many went.
    """
    if not folder.is_dir():
        return 0
    with exclusively(folder / LOCK):
        return sum(_without(segment, is_gone) for segment in segments_of(folder))


def _without(segment: Path, is_gone: Callable[[str], bool]) -> int:
    try:
        lines, found = segment.read_bytes().splitlines(keepends=True), segment.stat()
    except FileNotFoundError:
        return 0  # too old, and removed meanwhile
    records = [_parsed(line) for line in lines]
    gone = [record is not None and _is_of(record, is_gone) for record in records]
    # What is no record may be the beginning of one of theirs.
    kept = [
        line for line, record, is_out in zip(lines, records, gone, strict=True) if record is not None and not is_out
    ]
    if len(kept) < len(lines):
        with atomic_file(segment) as temporary:
            temporary.write_bytes(b"".join(kept))
            os.utime(temporary, ns=(found.st_atime_ns, found.st_mtime_ns))
    return sum(gone)


def _is_of(record: dict[str, Any], is_gone: Callable[[str], bool]) -> bool:
    return any(isinstance(one, str) and is_gone(one) for one in (record.get("user_id"), record.get("visitor_id")))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
