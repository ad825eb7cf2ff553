"""Intervals against the normal approximation, p-values against scipy's permutation test."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from recommender.errors import MetricError
from recommender.metrics.significance import (
    Comparison,
    bootstrap_interval,
    bootstrap_intervals,
    drawn_means,
    sign_flip_p_values,
)


def test_bootstrap_holds_the_mean_and_follows_the_seed():
    differences = np.random.default_rng(0).normal(0.1, 0.5, 400)
    low, high = bootstrap_interval(differences, seed=1)
    # The normal interval of the mean is mean ± 1.96 sd / sqrt(n).
    half = 1.96 * differences.std() / np.sqrt(400)
    assert low == pytest.approx(differences.mean() - half, abs=0.01)
    assert high == pytest.approx(differences.mean() + half, abs=0.01)
    assert (low, high) == bootstrap_interval(differences, seed=1)
    assert (low, high) != bootstrap_interval(differences, seed=2)


def test_columns_are_drawn_together_and_are_as_each_alone():
    values = np.random.default_rng(1).normal(size=(150, 3))
    low, high = bootstrap_intervals(values, seed=4, n_samples=130)
    for column in range(3):
        alone = bootstrap_interval(values[:, column], seed=4, n_samples=130)
        assert (low[column], high[column]) == pytest.approx(alone)


def test_users_are_drawn_with_replacement_one_draw_after_the_other():
    values, generator = np.random.default_rng(1).normal(size=(37, 2)), np.random.default_rng(4)
    plain = np.array([values[generator.integers(0, 37, 37)].mean(axis=0) for _ in range(250)])
    np.testing.assert_allclose(drawn_means(values, np.ones((37, 2)), seed=4, n_samples=250), plain)
    np.testing.assert_allclose(
        bootstrap_intervals(values, seed=4, n_samples=250), np.quantile(plain, [0.025, 0.975], axis=0)
    )


def test_p_values_are_scipys():
    generator = np.random.default_rng(2)
    differences = np.stack([generator.normal(0.15, 1, 120), generator.normal(0, 1, 120)], axis=1)
    ours = sign_flip_p_values(differences, seed=3, n_samples=4000)
    for column in range(2):
        sample = (differences[:, column],)
        theirs = permutation_test(
            sample, np.mean, permutation_type="samples", n_resamples=4000, rng=np.random.default_rng(5)
        )
        assert ours[column] == pytest.approx(theirs.pvalue, abs=0.03)


def test_a_draw_is_no_difference_and_a_clear_one_is():
    draw, clear = np.zeros(50), np.full(50, 0.2)
    p_draw, p_clear = sign_flip_p_values(np.stack([draw, clear], axis=1), seed=0, n_samples=999)
    assert p_draw == 1
    assert p_clear == 1 / 1000


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(MetricError, match="interval: queries=0"):
        bootstrap_interval(np.array([]), seed=1)
    with pytest.raises(MetricError, match="p-value: queries=0"):
        sign_flip_p_values(np.zeros((0, 2)), seed=1)


@pytest.mark.parametrize(
    ("p_value", "said"), [(0.2, "p = 0.2000, not significant;"), (0.001, "p = 0.0010, significant;")]
)
def test_a_comparison_says_whether_it_could_be_chance(p_value, said):
    sentence = Comparison("ndcg_at_10", 0.15, 0.1, 0.05, 0.01, 0.09, p_value, 1200).sentence()
    assert said in sentence
    assert "0.1500 against 0.1000 in service: difference +0.0500, 95 % interval [+0.0100, +0.0900]" in sentence
    assert "1,200 users" in sentence
