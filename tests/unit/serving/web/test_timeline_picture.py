"""Entries stand where their time is, each in the lane of its kind."""

from datetime import UTC, datetime, timedelta

import pytest

from core.logs.timeline import Entry
from serving.web.timeline_picture import LEFT, WIDTH, draw

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def _entry(number, kind, state, at, until=None):
    return Entry(
        id=number, at=at.isoformat(), until=(until or at).isoformat(), kind=kind, subject="s", state=state, says=""
    )


def test_marks_stand_at_their_time():
    day = timedelta(days=1)
    picture = draw(
        [
            _entry(1, "alarm", "on", NOW - 10 * day, NOW - 9 * day),
            _entry(2, "run", "completed", NOW - 5 * day, NOW - 4 * day),
            _entry(3, "promotion", "promoted", NOW),
        ],
        NOW,
    )
    full = WIDTH - LEFT - 10
    alarm, run, promotion = picture.marks
    assert (alarm.x, alarm.width) == (LEFT, full), "what is on goes on up to now"
    assert (run.x, run.width) == pytest.approx((LEFT + full / 2, full / 10), abs=0.1)
    assert (promotion.x, promotion.width) == (LEFT + full, 0)
    assert [kind for kind, _ in picture.lanes] == ["alarm", "run", "promotion"]
    assert len({mark.y for mark in picture.marks}) == 3
    assert [mark.tone for mark in picture.marks] == ["bad", "good", "good"]
    assert picture.ticks[0][1] == "28 Feb"


def test_one_moment_is_drawn_too():
    picture = draw([_entry(1, "rollback", "done", NOW)], NOW)
    assert picture.marks[0].x == LEFT
    assert len(picture.ticks) == 6


def test_nothing_is_no_picture():
    assert draw([], NOW) is None
