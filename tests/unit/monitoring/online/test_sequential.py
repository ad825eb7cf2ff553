"""The sequential test keeps its word however often one looks, and finds what is there."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest

from monitoring.online.sequential import _TUNED_FOR, LEVEL, compare

USERS = 4000
LOOKS = 100


def users(
    rng: np.random.Generator, control: float, variant: float, share: float, most_lists: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of lists with a click, of users with some lists each."""
    treated = rng.random(USERS) < share
    lists = rng.integers(1, most_lists + 1, size=USERS)
    return rng.binomial(lists, np.where(treated, variant, control)) / lists, treated


def finds(values: np.ndarray, treated: np.ndarray, share: float) -> bool:
    """Whether a look after any user says that there is a difference: the p-value is the smallest so far."""
    found = compare(values, treated, share)
    return found is not None and found.p_value <= LEVEL


@pytest.mark.parametrize(
    ("rate", "share", "most_lists"),
    [(0.05, 0.5, 8), (0.3, 0.5, 8), (0.05, 0.1, 8), (0.02, 0.1, 2), (0.01, 0.05, 1)],
)
def test_without_a_difference_looks_at_every_user_err_in_one_of_twenty_at_most(
    rate: float, share: float, most_lists: int
) -> None:
    rng = np.random.default_rng(11)
    runs = 1000
    errors = sum(finds(*users(rng, rate, rate, share, most_lists), share) for _ in range(runs))
    assert errors / runs <= LEVEL


def test_a_hundred_looks_at_the_interval_err_as_rarely() -> None:
    rng = np.random.default_rng(12)
    errors = 0
    for _ in range(100):
        values, treated = users(rng, 0.1, 0.1, 0.5)
        looks = [compare(values[:until], treated[:until], 0.5) for until in np.linspace(40, USERS, LOOKS, dtype=int)]
        errors += any(look is not None and not look.low <= 0.0 <= look.high for look in looks)
    assert errors / 100 <= LEVEL


def test_fixed_tests_at_every_look_would_err_far_more_often() -> None:
    """What the sequence protects from; were the simulation too easy, this would show it."""
    rng = np.random.default_rng(11)
    errors = 0
    for _ in range(200):
        values, treated = users(rng, 0.05, 0.05, 0.5)
        for until in np.linspace(USERS // LOOKS, USERS, LOOKS, dtype=int):
            one, other = values[:until][treated[:until]], values[:until][~treated[:until]]
            if min(len(one), len(other)) < 100:
                continue
            z = (one.mean() - other.mean()) / sqrt(one.var() / len(one) + other.var() / len(other))
            if abs(z) > 1.96:
                errors += 1
                break
    assert errors / 200 > 0.15


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(5)
    found = [finds(*users(rng, 0.10, 0.14, 0.5), 0.5) for _ in range(40)]
    assert sum(found) >= 36


def test_the_interval_holds_the_true_difference() -> None:
    rng = np.random.default_rng(6)
    inside = 0
    for _ in range(200):
        values, treated = users(rng, 0.10, 0.13, 0.5)
        looks = [compare(values[:until], treated[:until], 0.5) for until in range(400, USERS, 400)]
        inside += all(look is not None and look.low <= 0.03 <= look.high for look in looks)
    assert inside >= 190


def test_the_figures_are_those_of_the_formula() -> None:
    values, treated = np.array([1.0, 0.0, 1.0, 1.0]), np.array([True, False, True, False])
    found = compare(values, treated, 0.5, min_users=1)
    # Means before: treated 0, 1, 1, 1; control 0, 0, 0, 0.
    effects = [2.0, 1.0 - 0.0, 1.0, 1.0 - 0.0 - 2.0]
    mean = sum(effects) / 4
    spread = max(sum(one**2 for one in effects) / 4 - mean**2, (3 / 4 - (3 / 4) ** 2) / (0.5 * 0.5))
    r2 = (-2 * log(LEVEL) + log(-2 * log(LEVEL)) + 1) / _TUNED_FOR
    assert found is not None
    assert found.difference == pytest.approx(mean)
    radius = sqrt(spread) * sqrt(2 * (4 * r2 + 1) / (16 * r2) * log(sqrt(4 * r2 + 1) / LEVEL))
    assert (found.low, found.high) == pytest.approx((mean - radius, mean + radius))
    assert 0 < found.p_value <= 1
    e = (1 + 4 * r2) ** -0.5 * exp(16 * r2 * mean**2 / spread / (2 * (1 + 4 * r2)))
    assert found.p_value <= min(1.0, 1 / e) + 1e-12


def test_the_p_value_never_goes_up_as_users_come() -> None:
    values, treated = users(np.random.default_rng(3), 0.1, 0.15, 0.5)
    looks = [compare(values[:until], treated[:until], 0.5) for until in range(300, USERS, 50)]
    p_values = [look.p_value for look in looks if look is not None]
    assert len(p_values) > 50
    assert p_values == sorted(p_values, reverse=True)


def test_nothing_is_said_of_too_few_users_or_where_nothing_varies() -> None:
    assert compare(np.ones(150), np.arange(150) < 75, 0.5) is None
    same = compare(np.zeros(400), np.arange(400) % 2 == 0, 0.5)
    assert same is not None
    assert (same.p_value, same.difference) == (1.0, 0.0)
