"""Measures beyond accuracy, by hand; the formulas' own examples run as doctests."""

import doctest
from math import log2

import numpy as np
import pytest

import recommender.evaluation.groups
import recommender.metrics.lists
from recommender.metrics.lists import coverage, diversity, gini, mean_popularity, novelty, serendipity

# Items 1 and 2 point apart, 3 is as 1, 4 has no words.
TEXT = np.array([[0, 0], [1, 0], [0, 1], [1, 0], [0, 0]], dtype=np.float32)
LISTS = np.array([[1, 2, 3], [1, 3, 0], [4, 0, 0], [0, 0, 0]])


def test_diversity_is_over_the_pairs_that_are_there():
    # Of the three pairs of the first list one is alike.
    np.testing.assert_allclose(diversity(LISTS, TEXT), [1 - 1 / 3, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(diversity(np.array([[1, 4]]), TEXT), [1])


def test_diversity_is_the_mean_over_all_pairs_of_random_vectors():
    generator = np.random.default_rng(0)
    text = generator.normal(size=(60, 5))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    lists = np.stack([generator.permutation(np.arange(1, 60))[:6] for _ in range(1100)])
    cosines = text @ text.T
    places = np.triu_indices(6, 1)
    by_pairs = [1 - cosines[np.ix_(row, row)][places].mean() for row in lists]
    np.testing.assert_allclose(diversity(lists, text), by_pairs, atol=1e-9)


def test_novelty_is_in_bits_and_leaves_padding_out():
    n_events = np.array([0.0, 6, 0, 0, 0])  # p = 7/10, then 1/10 each
    first = (log2(10 / 7) + 2 * log2(10)) / 3
    np.testing.assert_allclose(novelty(LISTS[:3], n_events), [first, (log2(10 / 7) + log2(10)) / 2, log2(10)])


def test_popularity_is_the_mean_count():
    np.testing.assert_allclose(mean_popularity(LISTS, np.array([0, 6, 3, 0, 9])), [3, 3, 9, 0])


def test_serendipity_counts_hits_that_popularity_does_not_name():
    hits = np.array([[True, True, False], [False, True, False], [False] * 3, [False] * 3])
    expected = np.array([[1, 4, 5], [1, 2, 4], [1, 2, 3], [1, 2, 3]])
    np.testing.assert_allclose(serendipity(LISTS, hits, expected), [1 / 3, 1 / 3, 0, 0])


def test_coverage_counts_items_once_and_padding_never():
    assert coverage(np.array([[1, 2], [2, 0]]), n_items=8) == 2 / 8


def test_gini_is_half_the_relative_mean_difference():
    lists = np.random.default_rng(1).integers(1, 9, (40, 5))
    shown = np.bincount(lists.ravel(), minlength=13)[1:]
    by_pairs = np.abs(shown[:, None] - shown[None, :]).mean() / (2 * shown.mean())
    assert gini(lists, 12) == pytest.approx(by_pairs)
    assert gini(np.zeros((2, 3), dtype=int), 12) == 0


@pytest.mark.parametrize("module", [recommender.metrics.lists, recommender.evaluation.groups])
def test_the_examples_in_the_docstrings_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
