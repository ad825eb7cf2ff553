"""Every metric against fractions worked by hand."""

import doctest
from math import log2

import numpy as np
import pytest

import recommender.metrics.ranking
import recommender.metrics.ratings
from recommender.errors import MetricError
from recommender.metrics.ranking import (
    PER_QUERY,
    f1,
    hit_rate,
    mean_average_precision,
    metric_key,
    mrr,
    ndcg,
    precision,
    recall,
)

# Hits at places 2 and 4 of 4, three targets; one hit at place 1, one target; no hit, six targets.
HITS = np.array([[False, True, False, True], [True, False, False, False], [False, False, False, False]])
N_TARGETS = np.array([3, 1, 6])


@pytest.mark.parametrize(
    ("metric", "by_hand"),
    [
        (precision, [2 / 4, 1 / 4, 0]),
        (recall, [2 / 3, 1, 0]),
        (f1, [2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3), 2 * (1 / 4) / (1 / 4 + 1), 0]),
        (hit_rate, [1, 1, 0]),
        (mrr, [1 / 2, 1, 0]),
        (mean_average_precision, [(1 / 2 + 2 / 4) / 3, 1, 0]),
        (ndcg, [(1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4)), 1, 0]),
    ],
)
def test_metric_by_hand(metric, by_hand):
    np.testing.assert_allclose(metric(HITS, N_TARGETS), by_hand)


def test_the_best_list_is_no_longer_than_k():
    assert ndcg(np.ones((1, 2), dtype=bool), np.array([9])) == pytest.approx([1])
    assert mean_average_precision(np.ones((1, 2), dtype=bool), np.array([9])) == pytest.approx([1])


def test_keys_read_as_the_reports_have_them():
    assert [metric_key(name, 10) for name in PER_QUERY][:2] == ["ndcg_at_10", "recall_at_10"]


@pytest.mark.parametrize("name", PER_QUERY)
def test_a_query_without_targets_is_refused(name):
    with pytest.raises(MetricError, match="least 0"):
        PER_QUERY[name](HITS, np.array([3, 0, 6]))


@pytest.mark.parametrize("module", [recommender.metrics.ranking, recommender.metrics.ratings])
def test_the_examples_in_the_docstrings_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
