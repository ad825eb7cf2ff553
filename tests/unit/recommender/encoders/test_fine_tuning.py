"""Fine-tuning the text encoder, on a model of random weights and a shop in which the next item can be learned."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.settings.models import EncoderSettings
from core.storage import write_json
from recommender.encoders.encoder import EncoderError, TextEncoder
from recommender.encoders.fine_tuning import (
    Step,
    as_step,
    contrastive_loss,
    embed_by_length,
    fine_tune_encoder,
    steps,
    whiten,
)
from recommender.encoders.weights import learned_weights, load_encoder, save_weights, trainable
from recommender.encoders.whitening import Whitening
from recommender.errors import BundleError, NotFinite
from recommender.evaluation.evaluation import parts_of
from recommender.fitting.context import FitContext
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import TrainingSequence
from recommender.inputs.user import UserState
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.retrieval.text.ranker import TextRanker
from tests.unit.recommender.tiny_shop import random_vectors, save_tiny_encoder, write_training_set


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("shop"), n_users=60)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")
    return EncoderSettings(
        model=str(folder),
        max_tokens=16,
        precision="float32",
        fine_tune="full",
        learning_rate=5e-3,
        max_steps=40,
        step_texts=16,
        temperature=0.1,
    )


@pytest.fixture(scope="module")
def tuned(training, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "vectors"
    embed_catalogue(FitContext(training, 7, threads=1), folder, settings)
    return folder


def whole(items: list[int]) -> TrainingSequence:
    return TrainingSequence(torch.tensor(items))


def test_a_step_weighs_the_newest_most_and_spares_the_users_other_items():
    step = as_step([whole([5, 9, 7]), whole([9, 5])])
    assert step.items.tolist() == [5, 7, 9]
    np.testing.assert_allclose(step.before, [[1, 0, 0], [0.9, 0, 1], [0, 0, 1]])
    assert step.target.tolist() == [2, 1, 0]
    assert step.others.tolist() == [[True, True, False], [True, False, True], [False, False, True]]


def test_context_is_read_and_not_predicted():
    step = as_step([TrainingSequence(torch.tensor([5, 9, 7]), n_context=2)])
    np.testing.assert_allclose(step.before, [[0.9, 0, 1]])
    assert step.target.tolist() == [1]


def test_a_window_of_a_long_context_holds_a_target():
    drawn = steps([TrainingSequence(torch.arange(1, 41), n_context=39)], 64, np.random.default_rng(0))
    assert all(next(drawn).items.tolist() == [36, 37, 38, 39, 40] for _ in range(5))


def test_the_loss_is_the_softmax_over_the_items_of_others():
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    step = Step(
        np.array([1, 2, 3]), torch.tensor([[1.0, 0, 0]]), torch.tensor([1]), torch.tensor([[True, False, False]])
    )
    alike = torch.zeros(3)
    expected = -math.log(math.exp(0.6 / 0.5) / (math.exp(0.6 / 0.5) + math.exp(0.0)))
    assert contrastive_loss(vectors, step, 0.5, alike).item() == pytest.approx(expected)
    shares = torch.tensor([0.5, 0.4, 0.1])
    expected = -math.log(math.exp(0.6 / 0.5) / 0.4 / (math.exp(0.6 / 0.5) / 0.4 + math.exp(0.0) / 0.1))
    assert contrastive_loss(vectors, step, 0.5, shares.log()).item() == pytest.approx(expected)


def test_texts_are_embedded_by_their_length_and_come_back_in_order(settings):
    encoder = TextEncoder.load(settings, print)
    tokens = encoder.tokens([f"tin {'of tea ' * (n % 5)}{n}" for n in range(40)])
    passes = []
    whole = encoder.embed

    def embed(some):
        passes.append([len(ids) for ids in some])
        return whole(some)

    encoder.embed = embed
    rows = embed_by_length(encoder, tokens)
    np.testing.assert_allclose(rows.detach(), whole(tokens).detach(), atol=1e-5)
    assert [len(lengths) for lengths in passes] == [16, 16, 8]
    assert max(passes[0]) <= min(passes[1])


def test_steps_hold_no_more_texts_than_asked_and_come_to_every_sequence():
    sequences = [whole([2 * n + 1, 2 * n + 2]) for n in range(30)]
    drawn = steps(sequences, 8, np.random.default_rng(0))
    taken = [next(drawn).items.tolist() for _ in range(8)]
    assert max(len(items) for items in taken) == 8
    assert {item for items in taken for item in items} == set(range(1, 61))


def test_a_shop_that_fits_into_a_step_is_one():
    drawn = steps([whole([1, 2]), whole([2, 3])], 64, np.random.default_rng(0))
    assert [next(drawn).items.tolist() for _ in range(2)] == [[1, 2, 3]] * 2


def test_gradients_flow_through_the_same_whitening_as_is_served():
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    whitening = Whitening.fit(rows)
    raw = torch.from_numpy(rows).requires_grad_()
    white = whiten(raw, whitening)
    np.testing.assert_allclose(white.detach().numpy(), whitening.apply(rows), atol=1e-6)
    white[0, 0].backward()
    assert raw.grad is not None
    assert raw.grad[0].any()


def test_fine_tuning_learns_what_follows_and_is_kept(tuned):
    told = json.loads((tuned / "summary.json").read_text())["metrics"]
    assert told["ndcg_at_10_fine_tuned"] > told["ndcg_at_10_pretrained"] + 0.05
    vectors = ItemVectors.load(tuned)
    assert vectors.tuned is not None
    assert not torch.allclose(vectors.text, vectors.tuned, atol=0.1)


def test_the_encoder_is_loaded_again_as_it_made_the_vectors(tuned):
    vectors = ItemVectors.load(tuned)
    raw = load_encoder(tuned, print).encode(vectors.catalogue.texts, print)
    again = Whitening.load(tuned / "whitening.safetensors").apply(raw)
    np.testing.assert_allclose(again, vectors.tuned[1:].numpy(), atol=1e-6)


def test_lora_learns_small_additions_and_is_loaded_again(settings, tmp_path):
    additions = settings.model_copy(update={"fine_tune": "lora"})
    base = TextEncoder.load(settings, print)
    before = base.encode(["green tea"], print)
    model = trainable(base.model, additions)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.3)
    weights = learned_weights(model, additions)
    learned = TextEncoder(model, base.tokenizer, 16, 4, torch.float32).encode(["green tea"], print)
    save_weights(tmp_path, weights)
    write_json(tmp_path / "encoder.json", additions.model_dump(mode="json"))
    again = load_encoder(tmp_path, print).encode(["green tea"], print)
    np.testing.assert_allclose(again, learned, atol=1e-5)
    assert not np.allclose(again, before, atol=1e-3)


def test_lora_is_trained_through_the_same_door(training, settings, tmp_path):
    said: list[str] = []
    additions = settings.model_copy(update={"fine_tune": "lora", "max_steps": 4, "checks": 1})
    embed_catalogue(FitContext(training, 7, threads=1, progress=said.append), tmp_path / "vectors", additions)
    assert any("text encoder, lora: step 4/4" in line for line in said)


def test_without_fine_tuning_the_pretrained_encoder_is_loaded(training, settings, tmp_path):
    plain = settings.model_copy(update={"fine_tune": "none"})
    embed_catalogue(FitContext(training, 7, threads=1), tmp_path / "vectors", plain)
    loaded = load_encoder(tmp_path / "vectors", print).encode(["tea"], print)
    np.testing.assert_array_equal(loaded, TextEncoder.load(plain, print).encode(["tea"], print))
    assert not (tmp_path / "vectors" / "summary.json").exists()


def test_one_seed_gives_the_same_bits(training, settings, tuned, tmp_path):
    embed_catalogue(FitContext(training, 7, threads=1), tmp_path / "again", settings)
    for name in ("vectors.safetensors", "encoder.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tuned / name).read_bytes()


def test_what_ranks_no_better_is_dropped(training, settings, tmp_path):
    still = settings.model_copy(update={"learning_rate": 1e-12, "max_steps": 2})
    vectors = embed_catalogue(FitContext(training, 7, threads=1), tmp_path / "vectors", still)
    assert vectors.tuned is None
    assert not (tmp_path / "vectors" / "encoder.safetensors").exists()
    assert "ndcg_at_10_fine_tuned" in json.loads((tmp_path / "vectors" / "summary.json").read_text())["metrics"]


def test_weights_of_another_model_are_refused(tuned, tmp_path):
    folder = tmp_path / "vectors"
    folder.mkdir()
    (folder / "encoder.json").write_bytes((tuned / "encoder.json").read_bytes())
    save_file({"strange": torch.zeros(1)}, folder / "encoder.safetensors")
    with pytest.raises(BundleError, match=r"expected encoder\.safetensors of .*tiny fine-tuned by full"):
        load_encoder(folder, print)


def test_a_shop_without_words_keeps_what_it_has(training, settings):
    vectors = random_vectors(training)
    catalogue = replace(vectors, text=torch.zeros_like(vectors.text))
    said: list[str] = []
    width = catalogue.text.shape[1]
    whitening = Whitening(np.zeros(width, dtype=np.float32), np.eye(width, dtype=np.float32))
    choice = fine_tune_encoder(
        FitContext(training, 7, progress=said.append), catalogue, whitening, settings, TextRanker
    )
    assert choice.weights is None
    assert choice.vectors is catalogue
    assert any("nothing to fine-tune" in line for line in said)


def test_both_encoders_are_evaluated_where_fine_tuning_was_kept(training, tuned):
    both = ["text_encoder", "text_encoder_fine_tuned"]
    for vectors, names in ((ItemVectors.load(tuned), both), (random_vectors(training), both[:1])):
        shape = SequenceShape(
            n_items=len(vectors.ids),
            text_width=vectors.text.shape[1],
            width=8,
            n_blocks=1,
            n_heads=1,
            max_history=5,
            use_ids=True,
            use_text=True,
        )
        model = SequenceModel(shape, vectors.text, torch.ones(len(vectors.ids) + 1, dtype=torch.bool))
        bundle = SimpleNamespace(ranker=Ranker(vectors, model), generative=None)
        parts = parts_of(bundle)
        assert [name for name in parts if name.startswith("text_encoder")] == names
        users = [UserState.from_history(list(vectors.ids)[:2])]
        rows = [parts[name].scores(users) for name in names]
        assert len({row.tobytes() for row in rows}) == len(names)


def test_a_fine_tuning_that_diverges_ends_at_once_and_leaves_no_component(training, settings, tmp_path):
    wild = settings.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(NotFinite, match=r"Cannot fit text encoder: (loss|length of the gradient)=(nan|inf).*\(step"):
        embed_catalogue(FitContext(training, 7, threads=1), tmp_path / "vectors", wild)
    assert not (tmp_path / "vectors").exists()


def test_an_encoder_of_vectors_that_are_no_numbers_is_refused(settings, tmp_path):
    encoder = TextEncoder.load(settings, print)
    for weight in encoder.model.parameters():
        weight.requires_grad_(False).fill_(torch.nan)
    with pytest.raises(NotFinite, match="scores of text encoder"):
        encoder.encode(["tea"], print)
    encoder.model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="numbers that are not finite"):
        TextEncoder.load(settings.model_copy(update={"model": str(tmp_path)}), print)
