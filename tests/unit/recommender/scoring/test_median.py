"""The median of a rating: the answer with the least absolute error, found from the expected rating."""

import doctest

import numpy as np
import pytest

from recommender.scoring import median as module
from recommender.scoring.median import MAX_LEVELS, RatingMedian, levels_of


def ratings_around(expected: np.ndarray, seed: int) -> np.ndarray:
    """Ratings of 1 to 5 with a long tail downwards, so that the median lies above the mean."""
    generator = np.random.default_rng(seed)
    return np.clip(np.rint(expected + 1.0 - generator.gamma(1.0, 1.0, len(expected))), 1, 5)


def test_the_examples_of_the_docstrings_hold():
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_the_median_has_a_smaller_absolute_error_than_the_expected_rating_and_a_larger_squared_one():
    expected = np.random.default_rng(0).uniform(1.5, 5, 4000)
    given, later = ratings_around(expected, 1), ratings_around(expected, 2)
    shift = expected + (given - expected).mean()  # unbiased, as a scorer is
    median = RatingMedian.fit(shift, given)
    answered = median(shift)
    assert median.levels == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert set(answered) <= set(median.levels)
    assert np.abs(answered - later).mean() < np.abs(shift - later).mean() - 0.02
    assert np.abs(answered - later).mean() < np.abs(np.rint(shift) - later).mean() - 0.01
    assert np.square(answered - later).mean() > np.square(shift - later).mean()


def test_the_cuts_are_where_half_of_the_ratings_lie_above():
    expected = np.tile(np.arange(100) / 25 + 1, 200)
    above = np.random.default_rng(0).random(len(expected)) < 1 / (1 + np.exp(-3 * (expected - 3.4)))
    (cut,) = RatingMedian.fit(expected, np.where(above, 5.0, 2.0)).cuts
    assert cut == pytest.approx(3.4, abs=0.03)


def test_ratings_of_one_kind_and_answers_that_say_nothing_leave_one_median():
    assert RatingMedian.fit(np.array([2.0, 4.0]), np.array([3.0, 3.0]))(np.array([1.0, 5.0])).tolist() == [3.0, 3.0]
    turned = RatingMedian.fit(np.linspace(1, 5, 90), np.repeat([5.0, 4.0, 1.0], 30))
    assert set(turned(np.linspace(1, 5, 9))) == {4.0}


def test_a_scale_of_many_ratings_is_cut_at_its_quantiles():
    fine = np.random.default_rng(0).uniform(1, 5, 1000)
    levels = levels_of(fine)
    assert len(levels) == MAX_LEVELS
    assert set(levels) <= set(fine)
    median = RatingMedian.fit(fine, fine)
    assert np.abs(median(fine) - fine).mean() < 0.2


def test_cuts_that_do_not_fit_their_ratings_are_refused():
    assert RatingMedian.of({"levels": [1.0, 2.0], "cuts": [1.5]}) == RatingMedian((1.0, 2.0), (1.5,))
    for cuts in ([], [2.0, 1.0]):
        with pytest.raises(ValueError, match="ascending cuts"):
            RatingMedian.of({"levels": [1.0, 2.0, 3.0], "cuts": cuts})
