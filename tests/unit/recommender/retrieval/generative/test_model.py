"""The generative model: its probabilities, its reading of histories, its files."""

from pathlib import Path

import pytest
import torch

from core.errors import SettingsError
from recommender.errors import BundleError
from recommender.inputs.item_vectors import ItemVectors
from recommender.retrieval.generative.model import GenerativeShape, load_generative_model, right_padded
from tests.unit.recommender.retrieval.generative.tiny_model import log_probabilities_of_all, random_model, tiny_vectors

HISTORIES = right_padded([[4, 7, 2, 9], [5], []], 6)


@pytest.fixture
def vectors(tmp_path: Path) -> ItemVectors:
    return tiny_vectors(tmp_path)


def test_the_items_probabilities_sum_to_one(vectors: ItemVectors) -> None:
    of_all = log_probabilities_of_all(random_model(vectors), HISTORIES)
    assert of_all.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert of_all.exp().std() > 0.01


def test_over_all_codes_some_probability_is_lost_to_ids_that_do_not_exist(vectors: ItemVectors) -> None:
    of_all = log_probabilities_of_all(random_model(vectors, softmax="codes"), HISTORIES)
    assert (of_all.exp().sum(dim=1) < 0.99).all()


def test_it_starts_as_popularity(vectors: ItemVectors) -> None:
    """Before anything is learned, a prefix is as likely as the events below it are many."""
    model = random_model(vectors)
    for weights in (model.code_vectors, *model.node_vectors):
        torch.nn.init.zeros_(weights)
    decoded = torch.randn(1, 16)
    (first,) = model.log_probabilities(0, decoded, torch.zeros(1, dtype=torch.int64)).exp().tolist()
    totals = 1 + model.trie.totals(vectors.catalogue.n_events)[0]
    assert first == pytest.approx((totals / totals.sum()).tolist())


def test_padding_changes_nothing(vectors: ItemVectors) -> None:
    model = random_model(vectors)
    together = model.last_states(HISTORIES)
    alone = [model.last_states(right_padded([history], 6)) for history in ([4, 7, 2, 9], [5], [])]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_order_and_items_of_the_history_count(vectors: ItemVectors) -> None:
    model = random_model(vectors)
    states = model.last_states(right_padded([[4, 7, 2], [7, 4, 2], [4, 8, 2]], 6))
    assert not torch.allclose(states[0], states[1], atol=1e-4)
    assert not torch.allclose(states[0], states[2], atol=1e-4)


def test_an_item_that_was_not_learned_is_read_by_codes_and_text_alone(vectors: ItemVectors) -> None:
    model = random_model(vectors)
    before = model.item_vectors(torch.tensor([3, 4]))
    with torch.no_grad():
        model.id_vectors += 1.0
    after = model.item_vectors(torch.tensor([3, 4]))
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_a_long_history_is_its_newest_items() -> None:
    assert right_padded([[1, 2, 3, 4], [5]], 3).tolist() == [[2, 3, 4], [5, 0, 0]]


def test_it_is_the_same_after_saving_and_loading(vectors: ItemVectors, tmp_path: Path) -> None:
    model = random_model(vectors)
    model.save(tmp_path)
    loaded = load_generative_model(tmp_path, vectors)
    assert loaded.shape == model.shape
    expected = log_probabilities_of_all(model, HISTORIES)
    assert torch.equal(log_probabilities_of_all(loaded, HISTORIES), expected)


def test_damaged_files_and_strange_vectors_are_refused(vectors: ItemVectors, tmp_path: Path) -> None:
    random_model(vectors).save(tmp_path)
    narrow = ItemVectors(vectors.catalogue, vectors.text[:, :4])
    with pytest.raises(BundleError, match=r"belong together, but the item vectors are \(25, 4\)"):
        load_generative_model(tmp_path, narrow)
    (tmp_path / "generative.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match="Cannot load generative model"):
        load_generative_model(tmp_path, vectors)


def test_heads_have_to_divide_the_width() -> None:
    shape = GenerativeShape((4, 2), 8, 10, 1, 1, 3, 6, "trie", 8)
    with pytest.raises(SettingsError, match="width=10, n_heads=3"):
        shape.check()
