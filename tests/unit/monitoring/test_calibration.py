"""Figures of quiet days are as rare as their p-values say, rare kinds among them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, poisson

from monitoring.calibration import _distance, measure
from monitoring.signals.series import Series

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
