"""What semantic ids are made of."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from core.settings.models import GenerativeSettings
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import read_user_items
from recommender.retrieval.generative.id_vectors import RANK, collaborative_vectors, semantic_id_vectors
from recommender.retrieval.generative.semantic_ids import assign_semantic_ids
from tests.unit.recommender.tiny_shop import random_vectors, save_random_vectors, write_training_set

N_KINDS = 4
KINDS = np.repeat(np.arange(N_KINDS), 30)


def kinds_of_texts() -> np.ndarray:
    """A large axis per kind, and many small ones on which the items of a kind differ."""
    generator = np.random.default_rng(0)
    rows = np.zeros((len(KINDS), 40), dtype=np.float32)
    rows[np.arange(len(KINDS)), KINDS] = 1
    rows[:, N_KINDS:] = 0.1 * generator.normal(size=(len(KINDS), 36))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_kinds_of_items_share_their_first_code_before_whitening_and_not_after():
    raw = kinds_of_texts()
    whitening = Whitening.fit(raw, shrinkage=0.0)
    white = whitening.apply(raw)
    settings = GenerativeSettings(levels=1, codes=N_KINDS)

    def agreement(vectors):
        codes, _ = assign_semantic_ids(vectors, np.ones(len(vectors)), settings, seed=0)
        return adjusted_rand_score(KINDS, codes[:, 0])

    assert agreement(whitening.undo(white)) == 1.0
    assert agreement(white) < 0.5


def test_items_that_the_same_users_had_lie_together():
    generator = np.random.default_rng(0)
    groups = [np.arange(1, 11), np.arange(11, 21)]
    histories = [generator.permutation(groups[user % 2])[:6] for user in range(80)]
    vectors = collaborative_vectors([*histories, np.array([1, 11])], 22)
    cosines = vectors @ vectors.T
    assert cosines[:10, :10].mean() > cosines[:10, 10:20].mean() + 0.3
    np.testing.assert_allclose(np.linalg.norm(vectors[:20], axis=1), 1, atol=1e-5)
    assert not vectors[20:].any(), "nobody had them"
    assert vectors.shape[1] <= RANK
    np.testing.assert_array_equal(vectors, collaborative_vectors([*histories, np.array([1, 11])], 22))


@pytest.mark.parametrize("histories", [[], [np.array([1])], [np.array([], dtype=np.int64)] * 3])
def test_a_shop_too_small_for_it_has_no_such_vectors(histories):
    assert collaborative_vectors(histories, 2).shape == (2, 0)


def test_the_parts_stand_side_by_side_and_each_can_be_left_out(tmp_path):
    training = write_training_set(tmp_path / "training")
    folder = save_random_vectors(training, tmp_path / "vectors")
    items = ItemVectors.load(folder)
    turned = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0].numpy()
    Whitening(np.zeros(8, dtype=np.float32), turned).save(folder / WHITENING_FILE)
    had = collaborative_vectors(read_user_items(training, items.ids), len(items.ids))

    def made_of(**settings):
        return semantic_id_vectors(training, items, folder, GenerativeSettings(**settings))

    text = items.text[1:].numpy()
    np.testing.assert_array_equal(made_of(ids_from="whitened", collaborative_weight=0), text)
    np.testing.assert_allclose(made_of(collaborative_weight=0), text @ turned.T, atol=1e-5)
    np.testing.assert_allclose(made_of(collaborative_weight=0.5)[:, 8:], 0.5 * had, atol=1e-6)
    other = ItemVectors(items.catalogue, items.text, modality=random_vectors(training, seed=9).text)
    both = semantic_id_vectors(training, other, folder, GenerativeSettings(collaborative_weight=0))
    np.testing.assert_array_equal(both[:, 8:], other.modality[1:].numpy())
