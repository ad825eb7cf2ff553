"""Off-policy estimates: fractions worked by hand, and a simulation in which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.errors import MetricError
from recommender.metrics.off_policy import (
    doubly_robust,
    effective_sample_size,
    estimate,
    importance_weights,
    ips,
    snips,
)

# Two places. The target's list agrees with the first list as a whole, with the second in its first place only.
TARGET = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
LOGGED = np.array([[1 / 2, 1 / 3], [1 / 2, 2 / 3], [1 / 4, 1 / 3], [1 / 4, 1 / 2]])
REWARDS = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def test_weights_are_products_down_to_each_place() -> None:
    weights = importance_weights(TARGET, LOGGED)
    np.testing.assert_allclose(weights, [[2, 6], [2, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(importance_weights(TARGET, LOGGED, clip=5.0), [[2, 5], [2, 0], [0, 0], [0, 0]])


def test_estimates_are_those_worked_by_hand() -> None:
    weights = importance_weights(TARGET, LOGGED)
    assert ips(REWARDS, weights) == pytest.approx(2 / 4 + 6 / 4)
    assert snips(REWARDS, weights) == pytest.approx(2 / 4 + 6 / 6)
    # By place: mean of 1/2 + (2 x (1 - 1/4), 2 x (0 - 1/4), 0, 0) and of 1/2 + (6 x (1 - 1/4), 0, 0, 0).
    modelled, expected = np.full((4, 2), 1 / 4), np.full((4, 2), 1 / 2)
    assert doubly_robust(REWARDS, weights, modelled, expected) == pytest.approx((1 / 2 + 1 / 4) + (1 / 2 + 9 / 8))
    # (2 + 2)^2 / (4 + 4), and one list alone.
    np.testing.assert_allclose(effective_sample_size(weights), [2, 1])


def test_what_the_log_never_drew_has_no_estimate() -> None:
    with pytest.raises(MetricError, match="above 0, at most 1"):
        importance_weights(TARGET, np.zeros((4, 2)))
    assert np.isnan(snips(REWARDS, np.zeros((4, 2))))
    assert effective_sample_size(np.zeros((4, 2))).tolist() == [0, 0]
    with pytest.raises(MetricError, match="lists=0"):
        ips(np.zeros((0, 2)), np.zeros((0, 2)))


def test_without_weights_other_than_one_all_is_what_the_log_brought() -> None:
    ones = np.ones((4, 2))
    found = estimate(REWARDS, ones, ones / 4, ones / 4, np.arange(4), seed=3)
    assert found.logged == found.ips == found.snips
    assert found.doubly_robust.value == pytest.approx(found.logged.value) == pytest.approx(6 / 4)


def test_users_are_drawn_and_not_lists() -> None:
    rewards = np.repeat([[1.0], [0.0]], 50, axis=0)
    ones = np.ones_like(rewards)
    of_lists = estimate(rewards, ones, ones, ones, np.arange(100), seed=3).ips
    of_users = estimate(rewards, ones, ones, ones, np.arange(100) // 10, seed=3).ips
    assert of_users.high - of_users.low > 2.5 * (of_lists.high - of_lists.low)


# The chance of a click on each of four items at the two places, and what a click above does to it.
_RATES = np.array([[0.15, 0.10], [0.25, 0.20], [0.50, 0.35], [0.30, 0.25]])
_AFTER_CLICK = 0.5
_EPSILON = 0.4
_USERS = 600  # three lists each: the target's agrees with about 130 of them
_BEST, _TARGET = np.array([0, 1, 2, 3]), np.array([2, 0])


def _click(chance: np.random.Generator, items: np.ndarray, taste: np.ndarray) -> np.ndarray:
    first = chance.random(len(items)) < _RATES[items[:, 0], 0] + taste
    rate = (_RATES[items[:, 1], 1] + taste) * np.where(first, _AFTER_CLICK, 1.0)
    return np.column_stack([first, chance.random(len(items)) < rate]).astype(np.float64)


def _draw_lists(chance: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """As `serving.lists.exploration` draws: each place any item left with epsilon, else the best left."""
    items, logged = np.zeros((n, 2), dtype=int), np.zeros((n, 2))
    for row in range(n):
        left = list(_BEST)
        for place in range(2):
            drawn = int(chance.integers(len(left))) if chance.random() < _EPSILON else 0
            logged[row, place] = _EPSILON / len(left) + (1 - _EPSILON if drawn == 0 else 0)
            items[row, place] = left.pop(drawn)
    return items, logged


def test_intervals_hold_the_truth_in_95_of_100_logs_and_the_naive_mean_does_not() -> None:
    first = _RATES[_TARGET[0], 0]
    truth = first + _RATES[_TARGET[1], 1] * (1 - first + first * _AFTER_CLICK)
    held = dict.fromkeys(("logged", "ips", "snips", "doubly_robust"), 0)
    values = []
    for seed in range(100):
        chance = np.random.default_rng(seed)
        users = np.repeat(np.arange(_USERS), 3)
        items, logged = _draw_lists(chance, len(users))
        taste = np.where(chance.random(_USERS) < 0.5, 0.05, -0.05)[users]  # a user's lists are alike
        rewards = _click(chance, items, taste)
        weights = importance_weights((items == _TARGET).astype(float), logged)
        # A model that is wrong: it takes every rate for two thirds of what it is.
        modelled = _RATES[items, np.arange(2)] * 2 / 3
        expected = np.broadcast_to(_RATES[_TARGET, np.arange(2)] * 2 / 3, modelled.shape)
        found = estimate(rewards, weights, modelled, expected, users, seed)
        values.append((found.ips.value, found.snips.value, found.doubly_robust.value))
        for name in held:
            one = getattr(found, name)
            held[name] += one.low <= truth + _taste_gap() <= one.high
    assert not held["logged"]
    assert all(held[name] >= 90 for name in ("ips", "snips", "doubly_robust")), held
    spread = np.std(values, axis=0)
    assert np.abs(np.mean(values, axis=0) - truth - _taste_gap()).max() < 0.02
    assert spread[0] > spread[1]  # SNIPS varies less
    assert spread[0] > spread[2]


def _taste_gap() -> float:
    """Both places' rates move with the taste t, and a click above halves the second: mean of -t^2 / 2."""
    return -0.5 * 0.05**2
