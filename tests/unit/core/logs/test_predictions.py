"""The prediction log: durable soon, bounded, never in the way of an answer, and without those who are forgotten."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.logs import predictions
from core.logs.predictions import (
    Prediction,
    PredictionLog,
    erase_predictions,
    read_predictions,
)
from core.logs.pruning import Lost, read_lost, segments_of


def prediction(number: int = 0, **more: Any) -> Prediction:
    fields = {
        "recommendation_id": f"r{number}",
        "at": "2026-03-01T12:00:00+00:00",
        "endpoint": "/v1/recommend",
        "model": "sommelier-tiny:v1",
        "items": ("i1", "i2"),
        "scores": (0.5, 0.25),
    }
    return Prediction(**{**fields, **more})


@contextmanager
def opened(folder: Path, **more: Any) -> Iterator[PredictionLog]:
    settings = {"max_bytes": 10_000_000, "days": 30.0, "max_waiting": 1000, "flush_s": 0.0}
    log = PredictionLog(folder, **{**settings, **more})
    log.start()
    try:
        yield log
    finally:
        log.close()


def ids(folder: Path) -> list[str]:
    return [record["recommendation_id"] for record in read_predictions(folder) if "recommendation_id" in record]


def test_what_was_added_is_read_as_it_was(tmp_path: Path) -> None:
    given = prediction(
        user_id="u1", experiment="try", variant="new", unit="user", parts=("sequence", "text"), propensities=(0.9, 0.1)
    )
    with opened(tmp_path / "deep" / "predictions") as log:
        assert log.add(given)
        assert log.flush(10)
        (record,) = read_predictions(log.folder)
    assert record["items"] == ["i1", "i2"]
    assert record == json.loads(json.dumps({name: getattr(given, name) for name in Prediction.__slots__}))


def test_a_batch_is_synchronised_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("core.logs.predictions.os.fsync", synced.append)
    with opened(tmp_path, flush_s=0.3) as log:
        for number in range(100):
            log.add(prediction(number))
        assert log.flush(10)
    assert len(synced) == 2  # the segment, and the folder that got its name
    assert ids(tmp_path) == [f"r{number}" for number in range(100)]


def test_a_full_queue_drops_and_the_log_says_how_many(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    log = PredictionLog(
        tmp_path,
        max_bytes=10_000_000,
        days=30,
        max_waiting=3,
        flush_s=0.0,
        count=lambda outcome, number: counts.update({outcome: number}),
    )
    assert [log.add(prediction(number)) for number in range(5)] == [True, True, True, False, False]
    log.start()
    assert log.flush(10)
    log.close()
    *_, last = read_predictions(tmp_path)
    assert last["dropped"] == 2
    assert ids(tmp_path) == ["r0", "r1", "r2"]
    assert counts == {"dropped": 2, "written": 3}


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr("core.logs.predictions._FIRST_WAIT_S", 1e-9)


@pytest.mark.usefixtures("no_wait")
def test_what_cannot_be_written_is_counted_and_later_records_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "predictions"
    place.write_text("in the way")
    counts: Counter[str] = Counter()
    with opened(place, count=lambda outcome, number: counts.update({outcome: number})) as log:
        log.add(prediction(1))
        assert log.flush(10)
        assert "Cannot write the prediction log" in caplog.text
        place.unlink()
        log.add(prediction(2))
        assert log.flush(10)
    assert [record.get("dropped") for record in read_predictions(place)] == [None, 1]
    assert ids(place) == ["r2"]
    assert counts == {"dropped": 1, "written": 1}


class FullDisk:
    """Takes some bytes of each write, and has no room for the rest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full, self.tries = False, 0
        self._write = predictions._write_all
        monkeypatch.setattr("core.logs.predictions._write_all", self.write)

    def write(self, file: Any, content: bytes) -> None:
        if not self.is_full:
            return self._write(file, content)
        self.tries += 1
        self._write(file, content[:20])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize("first", [0, 1])
def test_a_full_disk_leaves_no_new_segment_and_no_line_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    disk = FullDisk(monkeypatch)
    with opened(tmp_path) as log:
        for number in range(first):
            log.add(prediction(number))
            assert log.flush(10)
        written = [segment.read_bytes() for segment in segments_of(tmp_path)]
        disk.is_full = True
        for number in range(10, 20):
            log.add(prediction(number))
            assert log.flush(10)
        assert disk.tries > 5
        assert [segment.read_bytes() for segment in segments_of(tmp_path)] == written
        disk.is_full = False
        log.add(prediction(20))
        assert log.flush(10)
    (segment,) = segments_of(tmp_path)
    lines = [json.loads(line) for line in segment.read_bytes().splitlines()]
    assert [line.get("recommendation_id") for line in lines] == [*(f"r{n}" for n in range(first)), "r20", None]
    assert lines[-1]["dropped"] == 10


@pytest.mark.usefixtures("no_wait")
def test_what_was_dropped_is_dated_by_the_first_record_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, days = FullDisk(monkeypatch), [f"2026-03-0{day}T12:00:00+00:00" for day in range(1, 8)]
    with opened(tmp_path) as log:
        for is_full, at in zip(
            (True, True, True, False, False, True, False), (days[1], days[0], *days[2:]), strict=True
        ):
            disk.is_full = is_full
            log.add(prediction(1, at=at))
            assert log.flush(10)
    found = [record for record in read_predictions(tmp_path) if "dropped" in record]
    assert [(one["dropped"], one["dropped_since"]) for one in found] == [(3, days[0]), (1, days[5])]
    assert all(datetime.fromisoformat(one["at"]) > datetime.fromisoformat(days[-1]) for one in found)


def test_what_failed_is_tried_again_ever_more_rarely_and_once_more_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    disk = FullDisk(monkeypatch)
    disk.is_full = True
    with opened(tmp_path, count=lambda outcome, number: counts.update({outcome: number})) as log:
        for number in range(20):
            log.add(prediction(number))
            assert log.flush(10)
        assert disk.tries < 5
        assert counts == {"dropped": 20}
        disk.is_full = False
        log.close()
    assert [record["dropped"] for record in read_predictions(tmp_path)] == [20]


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    with opened(tmp_path, flush_s=60.0) as log:
        for number in range(10):
            log.add(prediction(number))
    assert len(ids(tmp_path)) == 10


def test_segments_are_bounded_by_bytes_and_the_newest_stay(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=32_000) as log:
        for number in range(400):
            log.add(prediction(number))
            if not number % 4:
                assert log.flush(10)
        assert log.flush(10)
    assert sum(segment.stat().st_size for segment in segments_of(tmp_path)) <= 32_000
    kept = ids(tmp_path)
    assert 40 < len(kept) < 400
    assert kept == [f"r{number}" for number in range(400 - len(kept), 400)]


def test_a_segment_that_was_removed_does_not_come_back(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.add(prediction(1))
        assert log.flush(10)
        (segment,) = segments_of(tmp_path)
        segment.unlink()
        log.add(prediction(2))
        assert log.flush(10)
    (left,) = segments_of(tmp_path)
    assert left != segment
    assert ids(tmp_path) == ["r2"]


def test_what_is_kept_of_segments_is_taken_beside_the_writing(tmp_path: Path) -> None:
    taken, goes_on = [], threading.Event()

    class Slow:
        def keep(self, segments: Sequence[Path], lost: Lost) -> dict[str, datetime]:
            taken.extend(segments)
            assert goes_on.wait(30)
            return {"try": datetime(2026, 3, 1, tzinfo=UTC)} if segments else dict(lost.kept)

        def tidy(self, kept: Mapping[str, datetime]) -> None: ...

    old = tmp_path / "0.jsonl"
    old.write_text("{}\n")
    os.utime(old, (0, 0))
    with opened(tmp_path, keeper=Slow()) as log:
        log.add(prediction(1))
        assert log.flush(10)
        assert old.exists()
        goes_on.set()
    assert (taken, old.exists(), ids(tmp_path)) == ([old], False, ["r1"])
    assert read_lost(tmp_path).kept == {"try": datetime(2026, 3, 1, tzinfo=UTC)}


def test_closing_waits_for_what_the_last_records_have_removed(tmp_path: Path) -> None:
    closed = threading.Event()
    was_waited_for: list[bool] = []

    class Slow:
        def keep(self, segments: Sequence[Path], lost: Lost) -> Mapping[str, datetime]:
            was_waited_for.append(not closed.wait(0.2))
            return lost.kept

        def tidy(self, kept: Mapping[str, datetime]) -> None: ...

    log = PredictionLog(tmp_path, max_bytes=16, days=30.0, max_waiting=9, flush_s=0.0, keeper=Slow())
    log.add(prediction(1))  # is a segment of its own, and goes
    log.close()  # before it has begun: it ends with its first batch
    log.start()
    log.close()
    closed.set()
    assert was_waited_for == [True, True]


def test_where_the_system_gives_no_thread_records_are_written_and_old_ones_go_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, refused, may_start = threading.Thread.start, list[str](), threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "prediction-log-pruning" and not may_start.is_set():
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    old = tmp_path / "0.jsonl"
    old.write_text("{}\n")
    os.utime(old, (0, 0))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with opened(tmp_path, max_bytes=160) as log:  # each record is a segment of its own
        for number in range(4):
            if number == 3:
                assert old.exists()
                may_start.set()
            log.add(prediction(number))
            assert log.flush(10)
            written = ids(tmp_path)
            assert number == 3 or written[-1] == f"r{number}"
    assert not old.exists()
    assert len(refused) > 2
    said = [record.message for record in caplog.records]
    assert said == ["Old segments of the prediction log are not removed for now"]


def test_whatever_a_library_or_a_count_raises_later_records_are_written(
    tmp_path: Path, no_wait: None, caplog: pytest.LogCaptureFixture
) -> None:
    class Panic(BaseException):
        """As of a library that is written in Rust."""

    def fail(user_id: str) -> bool:
        if user_id == "bad":
            raise Panic("no")
        return False

    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    with opened(tmp_path, is_forgotten=fail, count=refuse) as log:
        for number, user_id in enumerate(("bad", "good", "good")):
            log.add(prediction(number, user_id=user_id))
            assert log.flush(10)
    assert ids(tmp_path) == ["r1", "r2"]
    assert [record.message for record in caplog.records][:1] == [
        "Cannot write the prediction log; answers are given all the same, and not recorded"
    ]


def test_what_is_written_after_a_clock_that_was_ahead_stays(tmp_path: Path) -> None:
    with opened(tmp_path, max_bytes=32_000) as log:
        for number in range(400):
            log.add(prediction(number))
            if not number % 4:
                assert log.flush(10)
    ahead = time.time() + 3650 * 24 * 3600
    for number, segment in enumerate(segments_of(tmp_path)):
        os.utime(segment.rename(tmp_path / f"f{number:02}.jsonl"), (ahead, ahead))
    for begins in (400, 500):
        with opened(tmp_path, max_bytes=32_000) as log:
            for number in range(begins, begins + 20):
                log.add(prediction(number))
                assert log.flush(10)
    assert set(ids(tmp_path)) >= {f"r{number}" for begins in (400, 500) for number in range(begins, begins + 20)}
    assert sum(segment.stat().st_size for segment in segments_of(tmp_path)) <= 32_000


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.add(prediction(1))
        assert log.flush(10)
    (segment,) = segments_of(tmp_path)
    with segment.open("ab") as file:
        file.write(b'{"recommendation_id": "r2", "user')
    assert ids(tmp_path) == ["r1"]


def test_who_is_forgotten_is_not_written(tmp_path: Path) -> None:
    with opened(tmp_path, is_forgotten=lambda user: user == "gone") as log:
        for number, who in enumerate(({"user_id": "gone"}, {"visitor_id": "gone"}, {"user_id": "stays"}, {})):
            log.add(prediction(number, **who))
        assert log.flush(10)
    assert ids(tmp_path) == ["r2", "r3"]


def test_erasing_leaves_no_byte_of_theirs_and_the_log_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for number, user in enumerate(("u-gone-1", "u-stays", "u-gone-1")):
            log.add(prediction(number, user_id=user))
        assert log.flush(10)
        (segment,) = segments_of(tmp_path)
        with segment.open("ab") as file:
            file.write(b'{"recommendation_id": "r9", "user_id": "u-gone-1\n')  # a batch that a kill cut short
        before = segment.stat().st_mtime_ns
        assert erase_predictions(tmp_path, lambda user: user == "u-gone-1") == 2
        assert segment.stat().st_mtime_ns == before
        assert b"u-gone-1" not in segment.read_bytes()
        log.add(prediction(3, user_id="u-stays"))
        assert log.flush(10)
    assert ids(tmp_path) == ["r1", "r3"]
    assert erase_predictions(tmp_path, lambda user: user == "u-gone-1") == 0
    assert erase_predictions(tmp_path / "none", lambda _: True) == 0


def test_many_threads_add_and_nothing_is_lost(tmp_path: Path) -> None:
    with opened(tmp_path, max_waiting=10_000, flush_s=0.01) as log:
        threads = [
            threading.Thread(target=lambda start=start: [log.add(prediction(start + n)) for n in range(250)])
            for start in range(0, 1000, 250)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.flush(10)
    assert sorted(ids(tmp_path)) == sorted(f"r{number}" for number in range(1000))


KILLED = """
import sys, time
from pathlib import Path
from core.logs.predictions import PredictionLog
from tests.unit.core.logs.test_predictions import prediction
log = PredictionLog(Path(sys.argv[1]), max_bytes=10**7, days=30, max_waiting=10**5, flush_s=0.01)
log.start()
number = 0
while True:
    for _ in range(10):
        log.add(prediction(number))
        number += 1
    log.flush(10)
    print(number, flush=True)
"""


def test_what_was_flushed_outlives_a_kill(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    flushed = 0
    for _ in range(20):
        flushed = int(process.stdout.readline())
    process.kill()
    rest = process.communicate()[0].split()
    flushed = int(rest[-1]) if rest else flushed
    assert ids(tmp_path)[:flushed] == [f"r{number}" for number in range(flushed)]
