"""Which segments of the prediction log go, and what is known of those that went."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.logs import pruning
from core.logs.pruning import Lost, lost_until, prune_segments, segments_of
from tests.unit.core.logs.conftest import SetClock


def write_segments(folder: Path, **age_days: float) -> None:
    for name, days in age_days.items():
        segment = folder / f"{name}.jsonl"
        segment.write_text("{}\n")
        moment = time.time() - days * 24 * 3600
        os.utime(segment, (moment, moment))


def test_segments_that_are_too_old_go(tmp_path: Path) -> None:
    write_segments(tmp_path, a=3, b=1)
    assert [one.name for one in prune_segments(tmp_path, 10_000, 2.0)] == ["a.jsonl"]
    assert [one.name for one in segments_of(tmp_path)] == ["b.jsonl"]


def test_what_went_with_segments_is_known_by_the_newest_of_them(tmp_path: Path) -> None:
    write_segments(tmp_path, a=3, b=1.5, c=1, x=-3650)
    assert lost_until(tmp_path) is None
    assert prune_segments(tmp_path, 10_000, 30.0) == []
    assert lost_until(tmp_path) is None
    newest = (tmp_path / "b.jsonl").stat().st_mtime
    assert {one.stem for one in prune_segments(tmp_path, 10_000, 1.25)} == {"a", "b"}
    assert lost_until(tmp_path) == datetime.fromtimestamp(newest, UTC)
    # One that is older was said with it already.
    write_segments(tmp_path, a=3)
    assert [one.stem for one in prune_segments(tmp_path, 10_000, 1.25)] == ["a"]
    assert lost_until(tmp_path) == datetime.fromtimestamp(newest, UTC)
    # One of the future holds nothing that is later than this moment.
    gone = prune_segments(tmp_path, 3, 30.0)
    assert [one.stem for one in gone] == ["x"]
    lost = lost_until(tmp_path)
    assert lost is not None
    assert abs((lost - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_a_full_disk_is_freed_of_old_segments_and_what_went_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int
) -> None:
    write_segments(tmp_path, a=5, b=4, c=3, d=1)
    newest, left = (tmp_path / "c.jsonl").stat().st_mtime, []
    write = pruning.write_json

    def write_where_there_is_room(file: Path, content: Any) -> None:
        left.append([one.stem for one in segments_of(tmp_path)])
        if len(left[-1]) > 4 - needed:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, content)

    monkeypatch.setattr(pruning, "write_json", write_where_there_is_room)
    assert {one.stem for one in prune_segments(tmp_path, 10_000, 2.0)} == {"a", "b", "c"}
    assert left == [list("abcd")[gone:] for gone in range(needed + 1)]
    assert [one.stem for one in segments_of(tmp_path)] == ["d"]
    assert lost_until(tmp_path) == datetime.fromtimestamp(newest, UTC)


def test_segments_stay_where_it_cannot_be_written_down_that_they_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    write_segments(tmp_path, a=5, b=1)
    monkeypatch.setattr(pruning, "write_json", refuse)
    with pytest.raises(OSError, match="Permission denied"):
        prune_segments(tmp_path, 10_000, 2.0)
    assert [one.stem for one in segments_of(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "delimiter|property name"),
        ("[]", "has no moment"),
        ("{}", "has no moment"),
        ('{"until": 3}', "has no moment"),
        ('{"until": "2026-03-01T00:00:00"}', "expected a moment with its zone"),
    ],
)
def test_a_word_on_removed_segments_that_cannot_be_read_is_an_error(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "lost.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        lost_until(tmp_path)
    write_segments(tmp_path, a=3)
    assert prune_segments(tmp_path, 10_000, 2.0) != []
    assert lost_until(tmp_path) is not None


def test_a_missing_word_on_removed_segments_is_an_error_where_something_is_kept_of_them(tmp_path: Path) -> None:
    write_segments(tmp_path, a=3, b=1)
    (tmp_path / "kept" / "try").mkdir(parents=True)
    for name in ("a.parquet", ".c.parquet.1.unfinished"):
        (tmp_path / "kept" / "try" / name).touch()
    assert lost_until(tmp_path) is None  # as after a kill, before the segment went
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ValueError, match=r"lost\.json is missing, and what is kept of segments that went is there"):
        lost_until(tmp_path)
    newest = (tmp_path / "b.jsonl").stat().st_mtime
    assert [one.stem for one in prune_segments(tmp_path, 0, 30.0)] == ["b"]
    assert lost_until(tmp_path) == datetime.fromtimestamp(newest, UTC)


class Nothing:
    """Keeps nothing."""

    def keep(self, segments: Sequence[Path], lost: Lost) -> Mapping[str, datetime]:
        return {}

    def tidy(self, kept: Mapping[str, datetime]) -> None:
        pass


@pytest.mark.parametrize(("went_days", "there", "lost_days"), [(9, [5, 3], 5), (4, [5, 3], 4), (9, [], 0)])
def test_a_missing_word_is_written_by_what_is_there_and_what_is_kept(
    tmp_path: Path, went_days: float, there: list[float], lost_days: float
) -> None:
    now = datetime.now(UTC)
    for days in there:
        begun = f"{round((now - timedelta(days=days)).timestamp() * 1000):012x}"
        write_segments(tmp_path, **{f"{begun[:8]}-{begun[8:]}-7000-8000-000000000000": days - 1.5})
    (tmp_path / "kept" / "try").mkdir(parents=True)
    kept = tmp_path / "kept" / "try" / "gone.parquet"
    kept.touch()
    os.utime(kept, (now.timestamp() - went_days * 86_400,) * 2)
    assert prune_segments(tmp_path, 10_000, 30.0, keeper=Nothing()) == []
    lost = lost_until(tmp_path)
    assert lost is not None
    assert abs(lost - (now - timedelta(days=lost_days))) < timedelta(hours=1)


def test_a_segment_of_the_future_counts_as_the_oldest(tmp_path: Path) -> None:
    write_segments(tmp_path, a=1.5, b=-0.04, c=1, x=-3650, y=-3651)  # b: an hour ahead, as in autumn
    assert [prune_segments(tmp_path, room, 2.0)[0].stem for room in (12, 9, 6, 3)] == ["x", "y", "a", "c"]


def test_the_segment_that_is_written_stays(tmp_path: Path) -> None:
    write_segments(tmp_path, a=3, b=0)
    assert prune_segments(tmp_path, 0, 2.0, tmp_path / "a.jsonl") == [tmp_path / "b.jsonl"]


def test_a_clock_that_is_set_ahead_removes_no_segment(tmp_path: Path, set_clock: SetClock) -> None:
    write_segments(tmp_path, a=3, b=1)
    set_clock(timedelta(days=400))
    assert [one.name for one in prune_segments(tmp_path, 10_000, 2.0)] == ["a.jsonl"]
