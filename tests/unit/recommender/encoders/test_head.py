"""Fine-tuning a linear head on the frozen encoder: what it learns from, when it is kept, and who reads it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.settings.models import EncoderSettings
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.head import Places, fine_tune_head, head_loss, with_head
from recommender.encoders.whitening import Whitening
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import TrainingSequence
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.retrieval.text.ranker import TextRanker
from tests.unit.recommender.tiny_shop import history, item, random_vectors, save_tiny_encoder, write, write_training_set


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("shop"), n_users=60)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    model = save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")
    return EncoderSettings(model=str(model), max_tokens=16, precision="float32", learning_rate=3e-2, max_steps=40)


@pytest.fixture(scope="module")
def tuned(training, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "vectors"
    embed_catalogue(FitContext(training, 7, threads=1), folder, settings)
    return folder


def test_a_head_is_what_is_tried_where_nothing_is_said():
    settings = EncoderSettings()
    assert (settings.fine_tune, settings.rate) == ("head", 1e-3)
    assert settings.model_copy(update={"fine_tune": "lora"}).rate == 2e-3
    assert settings.model_copy(update={"fine_tune": "full"}).rate == 5e-5
    assert settings.model_copy(update={"fine_tune": "full", "learning_rate": 1e-6}).rate == 1e-6


def test_a_place_sees_the_newest_items_before_it_and_context_is_no_target():
    places = Places.of([TrainingSequence(torch.arange(1, 8)), TrainingSequence(torch.tensor([9, 8, 7]), n_context=2)])
    assert places.targets.tolist() == [2, 3, 4, 5, 6, 7, 7]
    assert places.before[0].tolist() == [0, 0, 0, 0, 1]
    assert places.before[5].tolist() == [2, 3, 4, 5, 6]
    assert places.before[6].tolist() == [0, 0, 0, 9, 8]
    np.testing.assert_allclose(places.weights[6], [0, 0, 0, 0.9, 1])


def test_the_loss_sets_the_target_against_the_candidates_but_itself():
    text = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    places = Places(torch.tensor([[0, 1]]), torch.tensor([[0.0, 1.0]]), torch.tensor([2]))
    expected = -np.log(np.exp(0.6 / 0.5) / (np.exp(0.6 / 0.5) + np.exp(0.0)))
    for candidates in (torch.tensor([3]), torch.tensor([2, 3])):
        assert head_loss(text, torch.eye(2), places, candidates, 0.5).item() == pytest.approx(expected)


def test_the_head_learns_what_follows_and_is_kept(tuned):
    told = json.loads((tuned / "summary.json").read_text())
    assert told["metrics"]["ndcg_at_10_fine_tuned"] > told["metrics"]["ndcg_at_10_pretrained"] + 0.05
    assert told["choices"]["steps"] > 0
    assert not (tuned / "encoder.safetensors").exists(), "the encoder stays as it is"


def test_any_text_is_encoded_as_the_catalogue_is(tuned, settings):
    vectors, whitening = ItemVectors.load(tuned), Whitening.load(tuned / "whitening.safetensors")
    raw = TextEncoder.load(settings, print).encode(vectors.catalogue.texts, print)
    np.testing.assert_allclose(whitening.apply(raw), vectors.tuned[1:].numpy(), atol=1e-5)


def test_texts_are_retrieved_by_the_head_and_all_else_reads_what_it_read_before(tuned, training, settings, tmp_path):
    vectors = ItemVectors.load(tuned)
    plain = embed_catalogue(
        FitContext(training, 7, threads=1), tmp_path / "plain", settings.model_copy(update={"fine_tune": "none"})
    )
    assert torch.equal(vectors.text, plain.text)
    assert torch.equal(vectors.content(True, True), plain.content(True, True))
    assert vectors.retrieval is vectors.tuned
    np.testing.assert_array_equal(vectors.before_fine_tuning().profile([1, 2]), plain.profile([1, 2]))
    np.testing.assert_array_equal(vectors.profile([1, 2], tuned=False), plain.profile([1, 2]))
    assert not np.allclose(vectors.profile([1, 2]), plain.profile([1, 2]), atol=1e-3)


def test_one_seed_gives_the_same_bits_and_a_held_fit_takes_as_many_steps(training, settings, tuned, tmp_path):
    fit = FitContext(training, 7, threads=1)
    embed_catalogue(fit, tmp_path / "again", settings)
    embed_catalogue(replace(fit, held=tuned), tmp_path / "held", settings)
    for name in ("again", "held"):
        written = (tmp_path / name / "whitening.safetensors").read_bytes()
        assert written == (tuned / "whitening.safetensors").read_bytes()


def test_what_ranks_no_better_is_dropped(training, settings, tmp_path):
    still = settings.model_copy(update={"learning_rate": 1e-12, "max_steps": 3})
    vectors = embed_catalogue(FitContext(training, 7, threads=1), tmp_path / "vectors", still)
    assert vectors.tuned is None
    assert Whitening.load(tmp_path / "vectors" / "whitening.safetensors").head is None


def test_a_shop_without_words_keeps_what_it_has(training, settings):
    vectors = random_vectors(training)
    empty, said = replace(vectors, text=torch.zeros_like(vectors.text)), list[str]()
    choice = fine_tune_head(FitContext(training, 7, progress=said.append), empty, settings, TextRanker)
    assert choice.vectors is empty
    assert any("nothing to fine-tune" in line for line in said)


def test_a_shop_without_sequences_is_no_error_of_a_default(training, settings, tmp_path):
    copy = shutil.copytree(training, tmp_path / "training")
    write(copy, "sequences", [{"user_id": "u1", **history([item(1)])}])
    vectors = random_vectors(training)
    assert fine_tune_head(FitContext(copy, 7), vectors, settings, TextRanker).vectors is vectors


def test_items_without_words_stay_zeros():
    rows = torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.0, 0.0]])
    vectors = replace(ItemVectors(None, rows))
    assert with_head(vectors, torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tuned[2].tolist() == [0, 0]


def test_whitening_can_be_undone():
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32) * [3, 1, 1, 1, 0.2]
    whitening = Whitening.fit(rows.astype(np.float32))
    centred = rows - rows.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(whitening.undo(whitening.apply(rows.astype(np.float32))), expected, atol=1e-4)
