"""Choosing a list out of a pool, by hand; the formulas' own examples run as doctests."""

import doctest
import math

import numpy as np
import pytest

from recommender.metrics import significance
from recommender.reranking import choice, floor, traits
from recommender.reranking.choice import choose_calibrated, choose_varied, divergence
from recommender.reranking.floor import Floor, raise_to_floor


@pytest.mark.parametrize("module", [choice, floor, traits, significance])
def test_the_examples_of_the_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_mmr_without_strength_is_the_order_of_relevance_and_at_full_strength_looks_at_variety_alone():
    relevance = np.array([1.0, 0.8, 0.6, 0.0])
    alike = np.array([[1, 0.9, 0.9, 0.1], [0.9, 1, 0.9, 0.2], [0.9, 0.9, 1, 0.3], [0.1, 0.2, 0.3, 1]])
    assert choose_varied(relevance, alike, 0.0, 4) == [0, 1, 2, 3]
    assert choose_varied(relevance, alike, 1.0, 2) == [0, 3]
    # 2nd place: .5 * .8 - .5 * .9 = -.05; .5 * .6 - .45 = -.15; 0 - .05 = -.05: a tie, which the earlier one wins.
    assert choose_varied(relevance, alike, 0.5, 2) == [0, 1]
    assert choose_varied(relevance, alike, 0.51, 2) == [0, 3]
    assert choose_varied(relevance[:2], alike[:2, :2], 0.3, 5) == [0, 1]


def test_calibration_gives_categories_their_share_of_the_history():
    relevance, categories = np.linspace(1, 0, 8), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    taste = np.array([0.75, 0.25])
    assert choose_calibrated(relevance, categories, taste, 0.0, 4) == [0, 1, 2, 3]
    chosen = choose_calibrated(relevance, categories, taste, 0.9, 4)
    assert sorted(categories[chosen].tolist()) == [0, 0, 0, 1]
    # Items without a category belong to no share, and are no error.
    assert choose_calibrated(relevance, np.full(8, -1), taste, 0.9, 2) == [0, 1]


def test_the_divergence_is_that_of_the_smoothed_list():
    assert divergence(np.array([0.5, 0.5]), np.array([1, 0]), 1) == pytest.approx(
        0.5 * math.log(0.5 / (0.99 + 0.005)) + 0.5 * math.log(0.5 / 0.005)
    )
    assert divergence(np.zeros(2), np.array([1, 0]), 1) == 0.0


def test_a_floor_takes_the_last_places_and_keeps_the_order():
    rare = Floor(np.array([False, True, False, False, True, True, False]), 3)
    assert raise_to_floor([0, 1, 2, 3], [6, 4, 5], rare) == [0, 1, 4, 5]
    assert raise_to_floor([0, 1, 4, 5], [6], rare) == [0, 1, 4, 5]
    assert raise_to_floor([0, 2], [6, 4], rare) == [0, 4]  # nothing more may come in


def test_a_second_floor_does_not_undo_the_first():
    items = Floor(np.array([False, False, True, False, False]), 1)
    brands = Floor(np.array([False, False, False, True, False]), 1)
    assert raise_to_floor([0, 1, 2], [3], brands, [items]) == [0, 2, 3]
    assert raise_to_floor([2], [3], brands, [items]) == [2]
