"""Figures of quiet days are as rare as their p-values say, rare kinds among them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.stats import norm, poisson

from monitoring.calibration import Moved, _distance, measure
from monitoring.signals.activity import Span
from monitoring.signals.data import weekly_habit
from monitoring.signals.series import Series
from monitoring.verdict import is_broken, judge

SOME_RARE = (0.8, 0.05, 0.05, *[0.01] * 8, *[0.002] * 10)


@pytest.mark.parametrize(("count", "expected"), [(8, 1), (15, 3), (40, 10), (150, 100), (0, 3), (2, 10), (60, 100)])
def test_a_count_is_as_far_off_as_it_is_rare(count: int, expected: float) -> None:
    distance = float(_distance(np.array([float(count)]), np.array([expected]))[0])
    tail = poisson.sf(count - 1, expected) if count > expected else poisson.cdf(count, expected)
    exact = norm.isf(tail) ** 2
    assert exact == pytest.approx(distance, rel=0.25, abs=1.0)


@pytest.mark.parametrize(("n", "shares"), [(300, SOME_RARE), (70, (0.993, 0.007))])
def test_a_mix_with_rare_kinds_is_no_alarm_more_often_than_its_p_value_says(n: int, shares: tuple[float, ...]) -> None:
    rng, logs, known = np.random.default_rng(1), [], np.array(shares)
    for _ in range(40):
        sums = rng.multinomial(n, known / known.sum(), size=320).astype(float)
        labels = tuple(str(kind) for kind in range(len(shares)))
        series = Series("text.language.mix", "text", "mix", sums.sum(axis=1), sums, labels=labels)
        logs += [one.log_p for end in range(300, 320) for one in measure(series, end, 168) if one.days == 1]
    assert len(logs) == 800
    assert np.mean(np.array(logs) <= np.log(0.1)) > 0.005  # it does say something
    assert np.sum(np.array(logs) <= np.log(0.001)) <= 1
    assert np.exp(min(logs)) > 1e-4


def _of_share(counts: np.ndarray, n: int) -> list[Moved]:
    exposure = np.full(len(counts), float(n))
    series = Series("data.users.country.null_share", "data", "rate", exposure, counts[:, None], is_share=True)
    return list(measure(series, len(counts), 168))


@pytest.mark.parametrize(("usual", "now"), [(0.02, 0.07), (0.05, 0.12), (0.0, 0.01), (0.5, 0.6)])
def test_a_share_near_one_is_watched_as_closely_as_what_it_leaves(usual: float, now: float) -> None:
    rng, n = np.random.default_rng(0), 200
    counts = np.concatenate([rng.binomial(n, usual, 193), rng.binomial(n, now, 7)]).astype(float)
    rare, often = _of_share(counts, n), _of_share(n - counts, n)
    assert [one.log_p for one in often] == pytest.approx([one.log_p for one in rare])
    assert min(one.log_p for one in often) < -12


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95, 0.98])
def test_a_quiet_share_is_no_alarm_more_often_than_its_p_value_says(share: float) -> None:
    rng, n, n_draws = np.random.default_rng(2), 200, 400
    logs = [one.log_p for _ in range(n_draws) for one in _of_share(rng.binomial(n, share, 200).astype(float), n)]
    assert np.sum(np.array(logs) <= np.log(0.01)) <= 0.015 * len(logs)
    assert np.sum(np.array(logs) <= np.log(0.1)) > 0.02 * len(logs)  # it does say something


@pytest.mark.parametrize(("usual", "sd"), [(12.0, 0.0), (200.0, 0.2)])
def test_a_quiet_feed_is_stale_no_more_often_than_its_p_value_says(usual: float, sd: float) -> None:
    rng, logs = np.random.default_rng(3), []
    for _ in range(400):  # shops that are busier on some days of the week, and on some days by chance
        rate = usual * np.tile([0.6, 1, 1, 1, 1, 1.2, 1.2], 30)[:200] * np.exp(rng.normal(0, sd, 200))
        logs += [one.log_p for one in _of_last_hours(rng.poisson(rate).astype(float))]
    assert len(logs) == 400
    assert np.sum(np.array(logs) <= np.log(0.01)) <= 0.015 * len(logs)
    assert np.sum(np.array(logs) <= np.log(0.1)) > 0.01 * len(logs)  # it does say something


def test_hours_without_anybody_are_certain_where_twenty_users_usually_come_and_each_window_is_the_last_day() -> None:
    counts = np.random.default_rng(4).poisson(20.0, 200).astype(float)
    counts[-1] = 0
    [moved] = _of_last_hours(counts)
    assert moved.days == 1
    assert moved.log_p < np.log(0.05 / 1000)  # of a week's thousand answers
    assert is_broken(moved)


def _of_last_hours(counts: np.ndarray) -> list[Moved]:
    habit = weekly_habit(counts[:, None])
    series = Series(
        "data.interactions.freshness", "data", "rate", habit, counts[:, None], least=10, worse="lower", windows=(1,)
    )
    return list(measure(series, len(counts), 168))


@pytest.mark.parametrize("false_alarms", [0.0, 0.05, 1.0])
def test_a_shop_of_which_nothing_can_be_said_has_no_alarm_whatever_rate_is_asked_for(false_alarms: float) -> None:
    counts = np.full(200, 3.0)
    moved = _of_share(counts, 0)  # nobody came
    assert all(one.note for one in moved)
    verdict = judge(moved, Span(datetime(2026, 1, 1, tzinfo=UTC), 200), 200, false_alarms)
    assert verdict.alarms == ()
    assert [one.evidence for one in verdict.signals] == [0.0] * len(moved)
