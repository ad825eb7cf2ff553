from math import sqrt

import numpy as np
import pytest

from recommender.errors import MetricError
from recommender.metrics.ratings import auc, expected_calibration_error, grouped_auc, mae, reliability, rmse


def test_errors_by_hand():
    predicted, actual = np.array([4.0, 2.0, 5.0]), np.array([5.0, 2.0, 3.0])
    assert rmse(predicted, actual) == pytest.approx(sqrt((1 + 0 + 4) / 3))
    assert mae(predicted, actual) == pytest.approx(3 / 3)


def test_auc_by_hand_with_a_tie():
    scores, positive = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    # Pairs: 0.9 beats both; 0.5 ties with 0.5 and beats 0.1.
    assert auc(scores, positive) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_auc_agrees_with_counting_all_pairs():
    generator = np.random.default_rng(4)
    scores, positive = generator.integers(0, 6, 60) / 6, generator.random(60) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert auc(scores, positive) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_auc_of_one_class_is_refused(positive):
    with pytest.raises(MetricError, match=f"positives={sum(positive)}"):
        auc(np.array([0.1, 0.2]), np.array(positive))


def test_calibration_error_by_hand():
    probabilities = np.array([0.15, 0.15, 1.0, 0.95])
    positive = np.array([False, True, True, False])
    # Bin .1-.2: |.15 - .5| over 2 of 4 rows; bin .9-1: |.975 - .5| over 2 of 4.
    assert expected_calibration_error(probabilities, positive) == pytest.approx(0.35 / 2 + 0.475 / 2)


@pytest.mark.parametrize("metric", [rmse, mae, auc, expected_calibration_error])
def test_rows_that_do_not_match_are_refused(metric):
    with pytest.raises(MetricError, match=r"shapes=\(2,\) and \(3,\)"):
        metric(np.zeros(2), np.zeros(3))


def test_no_rows_are_refused():
    with pytest.raises(MetricError, match=r"shapes=\(0,\)"):
        rmse(np.array([]), np.array([]))


def test_the_bins_of_reliability_are_those_of_the_calibration_error():
    generator = np.random.default_rng(3)
    said = np.append(generator.random(300), [0.0, 1.0])
    liked = generator.random(302) < said**2
    bins = reliability(said, liked)
    assert sum(one["n"] for one in bins) == 302
    gap = sum(one["n"] / 302 * abs(one["mean_probability"] - one["frequency"]) for one in bins)
    assert gap == pytest.approx(expected_calibration_error(said, liked))
    assert reliability(np.array([0.95]), np.array([True]))[0]["frequency"] == 0


def test_auc_within_users_leaves_out_those_of_one_kind():
    """One user of four pairs with AUC 3/4, one of two with AUC 0, and one whose pairs are all likes."""
    scores = np.array([0.9, 0.2, 0.4, 0.1, 0.3, 0.6, 0.5])
    positive = np.array([True, True, False, False, True, False, True])
    assert grouped_auc(scores, positive, ["a"] * 4 + ["b"] * 2 + ["c"]) == pytest.approx((4 * 3 / 4 + 2 * 0) / 6)
    assert grouped_auc(scores, positive, list("abcdefg")) is None
