"""Counts of answers: all processes' together, kept through a kill, bounded, and never in the way of an answer."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from core.logs.answered import PRAISE, AnswerCounts, read_answered
from tests.unit.core.logs.conftest import SetClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASKED = "/v1/recommend"


def _counts(folder: Path, now: datetime = NOON, every_s: float = 0.0, days: float = 30) -> AnswerCounts:
    return AnswerCounts(folder, days=days, every_s=every_s, now=lambda: now)


def test_answers_of_all_processes_are_counted_together_by_day_endpoint_and_outcome(tmp_path: Path) -> None:
    one, other = _counts(tmp_path), _counts(tmp_path)
    for status in (200, 202, 404, 503):
        one.add(ASKED, status)
    one.keep()
    one.add(ASKED, 429, 5)
    other.add(ASKED, 500)
    other.add("/v1/score", 200)
    for counts in (one, other):
        counts.keep()
    later = _counts(tmp_path, NOON + timedelta(days=1))
    later.add(ASKED, 200)
    later.keep()
    assert read_answered(tmp_path) == {
        date(2026, 3, 1): {
            ASKED: {"ok": 2, "refused": 1, "limited": 5, "failed": 2},
            "/v1/score": {"ok": 1},
        },
        date(2026, 3, 2): {ASKED: {"ok": 1}},
    }


def test_what_written_reviews_praise_is_counted_beside_the_answers(tmp_path: Path) -> None:
    counts = _counts(tmp_path)
    counts.add_praise(0, 0)
    counts.keep()
    assert read_answered(tmp_path) == {}
    counts.add(ASKED, 200)
    for n_supported, n_praised in ((1, 3), (2, 2), (0, 0)):
        counts.add_praise(n_supported, n_praised)
    counts.keep()
    assert read_answered(tmp_path)[NOON.date()] == {ASKED: {"ok": 1}, PRAISE: {"supported": 3, "unsupported": 2}}


def test_counts_are_written_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    counts = _counts(tmp_path, every_s=3600)
    counts.add(ASKED, 200)
    counts.keep()
    counts.add(ASKED, 200)
    counts.keep()
    assert read_answered(tmp_path)[NOON.date()] == {ASKED: {"ok": 1}}
    counts.keep(at_once=True)
    assert read_answered(tmp_path)[NOON.date()] == {ASKED: {"ok": 2}}


def test_without_answers_nothing_is_written(tmp_path: Path) -> None:
    _counts(tmp_path / "answered").keep(at_once=True)
    assert not (tmp_path / "answered").exists()
    assert read_answered(tmp_path / "answered") == {}


def test_days_that_are_long_ago_go(tmp_path: Path) -> None:
    for day in range(6):
        counts = _counts(tmp_path, NOON + timedelta(days=day), days=2)
        counts.add(ASKED, 200)
        counts.keep()
    assert [day.day for day in read_answered(tmp_path)] == [4, 5, 6]


def test_a_clock_that_is_set_ahead_removes_no_day(tmp_path: Path, set_clock: SetClock) -> None:
    today = datetime.now(UTC)
    for ahead in (timedelta(), timedelta(days=900)):
        set_clock(ahead)
        counts = _counts(tmp_path, today + ahead, days=30)
        counts.add(ASKED, 200)
        counts.keep()
    assert list(read_answered(tmp_path)) == [today.date(), (today + timedelta(days=900)).date()]


def test_a_disk_that_is_full_fails_nobody_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counts = _counts(tmp_path)
    counts.add(ASKED, 200)
    with monkeypatch.context() as patched:
        patched.setattr("core.logs.answered.atomic_file", _full)
        counts.keep()
        counts.keep()
    assert len(caplog.records) == 1  # said once
    counts.add(ASKED, 200)
    counts.keep()
    assert read_answered(tmp_path)[NOON.date()] == {ASKED: {"ok": 2}}


FOREIGN = ("notes.json", "2026-13-01.a.json", "2026-03-01.json", ".json", "copy of 2026-03-01.a.json")


def test_files_that_no_service_wrote_are_in_nobodys_way(tmp_path: Path) -> None:
    for name in FOREIGN:
        (tmp_path / name).write_text("{}")
    counts = _counts(tmp_path, days=2)
    counts.add(ASKED, 200)
    counts.keep()
    assert read_answered(tmp_path) == {NOON.date(): {ASKED: {"ok": 1}}}
    assert {*FOREIGN} < {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"/v1/recommend": 3}', '{"/v1/recommend": {"ok": "many"}}'])
def test_counts_that_are_damaged_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (tmp_path / "2026-03-01.damaged.json").write_text(content)
    counts = _counts(tmp_path)
    counts.add(ASKED, 200)
    counts.keep()
    assert read_answered(tmp_path) == {NOON.date(): {ASKED: {"ok": 1}}}
    assert "2026-03-01.damaged.json" in caplog.text


@pytest.mark.parametrize("error", [ValueError("made up"), RuntimeError("made up")])
def test_whatever_fails_what_was_counted_is_written_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    counts = _counts(tmp_path)
    counts.add(ASKED, 200)

    def fail(_: Path) -> None:
        raise error

    with monkeypatch.context() as patched, suppress(RuntimeError):
        patched.setattr("core.logs.answered.atomic_file", fail)
        counts.keep()
    counts.keep()
    assert read_answered(tmp_path) == {NOON.date(): {ASKED: {"ok": 1}}}


def test_a_caller_who_asks_too_often_is_not_too_many_at_once(tmp_path: Path) -> None:
    counts = _counts(tmp_path)
    counts.add(ASKED, 429, is_throttled=True)
    counts.add(ASKED, 429)
    counts.keep()
    assert read_answered(tmp_path)[NOON.date()] == {ASKED: {"limited": 1, "throttled": 1}}


def _full(_: Path) -> None:
    raise OSError(28, "No space left on device")
