"""Who is asked often is one user: intervals and p-values are over users."""

import numpy as np
import pytest

from benchmarks.harness.by_user import ByUser

USERS = [f"u{number}" for number in range(100)]
GAINS = np.random.default_rng(3).normal(0.1, 0.5, 100)


def test_the_same_figures_again_make_nobody_surer() -> None:
    """Three seeds that rank alike for each user say as much as one of them."""
    once, thrice = ByUser.of(USERS, GAINS), ByUser.of(USERS * 3, np.tile(GAINS, 3))
    assert thrice.interval() == pytest.approx(once.interval())
    assert thrice.p_value() == once.p_value()
    assert thrice.means == pytest.approx([GAINS.mean()])
    assert once.interval()[0] < GAINS.mean() < once.interval()[1]


def test_figures_of_a_few_users_say_less_than_of_many() -> None:
    values = np.tile([1.0, 0.0], 50)
    few, many = ByUser.of(USERS[:4] * 25, values), ByUser.of(USERS, values)
    assert few.means == many.means == [0.5]
    assert np.ptp(few.interval()) > 4 * np.ptp(many.interval())
    assert few.p_value() > 0.2 > many.p_value()


def test_a_ratio_is_of_sums_over_values_with_users_drawn() -> None:
    """One of them has most of the values: a mean over users' means would be 1.5."""
    users = ["often"] * 3 + ["once"]
    found = ByUser.of(users, np.array([[2.0, 2.0], [2.0, 2.0], [2.0, 2.0], [4.0, 2.0]]))
    ratio, low, high = found.ratio()
    assert ratio == pytest.approx(10 / 8)
    assert (low, high) == (1.0, 2.0)
