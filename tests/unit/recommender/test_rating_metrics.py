from math import sqrt

import numpy as np
import pytest

from recommender.rating_metrics import MetricError, auc, expected_calibration_error, mae, rmse


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
