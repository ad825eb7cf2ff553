"""Semantic ids: unique, seeded, balanced, and alike where texts are alike."""

import numpy as np
import pytest

from core.settings.models import GenerativeSettings
from recommender.retrieval.generative.semantic_ids import IMBALANCE, assign_semantic_ids, codes_per_level

SETTINGS = GenerativeSettings(levels=2, codes=8)
VECTORS = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def assign(vectors: np.ndarray = VECTORS, settings: GenerativeSettings = SETTINGS, seed: int = 1):
    return assign_semantic_ids(vectors, np.arange(len(vectors)), settings, seed)


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("vectors", [VECTORS, np.zeros_like(VECTORS), np.repeat(VECTORS[:2], 50, axis=0)])
def test_every_item_has_an_id_of_its_own_whatever_the_texts(vectors: np.ndarray, levels: int) -> None:
    codes, sizes = assign(vectors, GenerativeSettings(levels=levels, codes=8))
    assert codes.shape == (100, levels + 1)
    assert len(np.unique(codes, axis=0)) == 100
    assert (codes >= 0).all()
    assert (codes < np.array(sizes)).all()


def test_equal_seeds_give_equal_ids() -> None:
    assert np.array_equal(assign()[0], assign()[0])
    assert not np.array_equal(assign()[0], assign(seed=2)[0])


def test_no_code_takes_more_than_its_share() -> None:
    crowded = VECTORS.copy()
    crowded[:70] = VECTORS[0] + 0.01 * VECTORS[:70]
    codes, _ = assign(crowded)
    for level in range(2):
        assert np.bincount(codes[:, level]).max() <= np.ceil(IMBALANCE * 100 / 8)


def test_items_without_words_are_spread_too() -> None:
    """All at one place, they would share one prefix, and the last level would have to tell a hundred apart."""
    _, sizes = assign(np.zeros_like(VECTORS))
    assert sizes[-1] < 15


def test_items_of_like_texts_begin_alike() -> None:
    corners = np.eye(6, dtype=np.float32)[:4]
    vectors = np.repeat(corners, 25, axis=0) + 0.02 * VECTORS
    first = assign(vectors, GenerativeSettings(levels=2, codes=4))[0][:, 0].reshape(4, 25)
    assert (first == first[:, :1]).all()
    assert len(set(first[:, 0])) == 4


def test_the_last_code_tells_equal_ones_apart_most_events_first() -> None:
    codes, sizes = assign(settings=GenerativeSettings(levels=1, codes=4))
    for code in range(4):
        members = np.flatnonzero(codes[:, 0] == code)
        assert codes[members, 1].tolist() == list(range(len(members)))[::-1]  # events grow with the index
    assert sizes == (4, np.bincount(codes[:, 0]).max())


def test_codes_per_level_follow_the_size_of_the_catalogue() -> None:
    sizes = {0: [codes_per_level(0, n) for n in (2, 24, 400, 12_000, 10**6)], 40: [codes_per_level(40, 24)]}
    assert sizes == {0: [2, 16, 64, 256, 256], 40: [24]}
