"""Since when a signal is beyond what is usual, and what its days were beside the quiet ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitoring.calibration import measure
from monitoring.course import SHOWN_DAYS, Days
from monitoring.looks import unquiet_windows
from monitoring.signals.activity import Span
from monitoring.signals.series import Series
from monitoring.verdict import judge

N_DAYS = 200
SPAN = Span(datetime(2026, 7, 20, tzinfo=UTC), N_DAYS)
WATCHED = Days(SPAN, N_DAYS, 168, np.zeros(N_DAYS, dtype=bool))


def share(moved_days: int, usual: float = 0.1, now: float = 0.3) -> Series:
    rng, n = np.random.default_rng(moved_days), 300
    counts = np.concatenate([rng.binomial(n, usual, N_DAYS - moved_days), rng.binomial(n, now, moved_days)])
    exposure = np.full(N_DAYS, float(n))
    return Series("data.users.country.null_share", "data", "rate", exposure, counts[:, None] * 1.0, is_share=True)


def mean(moved_days: int) -> Series:
    rng, n = np.random.default_rng(moved_days), 100
    values = (
        rng.normal(np.log(10.0), 0.5, (N_DAYS, n)) + np.repeat([0.0, 0.4], [N_DAYS - moved_days, moved_days])[:, None]
    )
    sums, squares = values.sum(axis=1, keepdims=True), (values**2).sum(axis=1, keepdims=True)
    exposure = np.full(N_DAYS, float(n))
    return Series("data.items.price.level", "data", "mean", exposure, sums, squares, is_log=True)


def mix(moved_days: int) -> Series:
    rng = np.random.default_rng(moved_days)
    days = [rng.multinomial(200, [0.5, 0.3, 0.2]) for _ in range(N_DAYS - moved_days)]
    days += [rng.multinomial(200, [0.3, 0.3, 0.4]) for _ in range(moved_days)]
    sums = np.array(days, dtype=float)
    return Series("data.items.category.mix", "data", "mix", sums.sum(axis=1), sums, labels=("a", "b", "c"))


@pytest.mark.parametrize("of", [share, mean, mix])
@pytest.mark.parametrize("moved_days", [1, 4, 11, 20])
def test_an_alarm_is_on_since_its_signal_moved_however_long_the_window_is(of, moved_days):
    series = of(moved_days)
    [alarm] = judge(list(measure(series, N_DAYS, 168)), SPAN, N_DAYS, 0.05, WATCHED).alarms
    since = (SPAN.end - datetime.fromisoformat(alarm.since)) / timedelta(days=1)
    assert abs(since - moved_days) <= 1
    # The days that no reference takes are still those of the window.
    assert unquiet_windows([alarm]) == ((SPAN.end - timedelta(days=alarm.window_days), SPAN.end),)
    assert alarm.course is not None
    beyond = [value is not None and not alarm.course.low <= value <= alarm.course.high for value in alarm.course.values]
    assert len(beyond) == SHOWN_DAYS
    assert alarm.course.begins == SPAN.starts(N_DAYS - SHOWN_DAYS).isoformat()
    assert all(beyond[-moved_days:])
    assert sum(beyond[:-moved_days]) <= 0.15 * SHOWN_DAYS  # 5 % of quiet days are beyond, by chance more of 36


def test_a_shift_that_is_older_than_a_look_sees_is_as_old_as_it_sees():
    assert WATCHED.since(share(28)) == N_DAYS - 28


def test_the_values_are_those_of_a_person_and_a_day_without_any_has_none():
    series = mean(0)
    series.exposure[-2] = series.sums[-2] = 0.0
    course = WATCHED.course(series)
    assert course is not None
    assert course.values[-2] is None
    assert 8 < course.low < 10 < course.high < 12  # money, and no logarithm


def test_days_that_were_not_quiet_are_no_part_of_what_is_usual():
    counts = np.full(N_DAYS, 30.0) + np.arange(N_DAYS) % 3
    counts[100:150] = 90.0
    exposure, noisy = np.full(N_DAYS, 300.0), np.zeros(N_DAYS, dtype=bool)
    noisy[100:150] = True
    series = Series("data.users.country.null_share", "data", "rate", exposure, counts[:, None], is_share=True)
    course = Days(SPAN, N_DAYS, 168, noisy).course(series)
    assert course is not None
    assert course.high < 0.2


def test_what_is_not_watched_by_day_has_neither():
    no_days = Series("data.items.price.unit", "data", "rate", np.zeros(N_DAYS), np.zeros((N_DAYS, 1)))
    few = Series("quality.replay.lead", "quality", "mean", np.ones(20), np.ones((20, 1)), np.ones((20, 1)))
    for series in (no_days, few):
        assert WATCHED.since(series) is None
        assert WATCHED.course(series) is None
