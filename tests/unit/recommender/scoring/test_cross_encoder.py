"""The pair scorer with a language model, on a shop with a known law, by a tiny encoder of random weights."""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from core.settings.loading import load_settings
from core.settings.models import CrossEncoderSettings, ScorerSettings
from core.settings.tree import Recipe
from core.storage import file_digest
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.loading import load_bundle
from recommender.bundle.manifest import Component
from recommender.encoders.encoder import EncoderError
from recommender.errors import BundleError, NotFinite
from recommender.evaluation.scorer import evaluate_scorer
from recommender.fitting.context import FitContext
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.retrieval.sequence.model import SequenceModel, SequenceShape
from recommender.scoring.cross_encoder import CrossEncoder, CrossEncoderError, load_cross_encoder, pair_texts
from recommender.scoring.input import ItemRatings
from recommender.scoring.scorer import PairScorer
from recommender.scoring.stack import PENALTY, Stack, StackedScorer, Weights, load_scorer
from recommender.scoring.training import fit_scorer
from serving.api.score import ScoreRequest
from serving.engine import Engine
from tests.unit.recommender.scoring.test_training import counted_by, write_shop
from tests.unit.recommender.tiny_shop import DATA, save_tiny_encoder

LIGHT = ScorerSettings(hidden=4, max_epochs=1, factors=2, factor_steps=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")


def settings_of(model: Path, **others: object) -> CrossEncoderSettings:
    quick = {"max_tokens": 48, "max_steps": 12, "look_every": 4, "learning_rate": 1e-2, "light": LIGHT}
    return CrossEncoderSettings.model_validate({"model": str(model), "precision": "float32", **quick, **others})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, model) -> tuple[Path, Path, Path, list[str]]:
    """Training set, vectors, the component, and what was said."""
    folder, said = tmp_path_factory.mktemp("shop"), []
    training, vectors = write_shop(folder, n_train=220)
    assert fit_scorer(
        FitContext(training, 1, threads=1, progress=said.append), vectors, folder / "scorer", settings_of(model)
    )
    return training, vectors, folder / "scorer", said


def test_the_profile_names_what_was_liked_and_what_was_not_newest_first() -> None:
    counts = {"item_n_events": 1, "item_n_ratings": 0}
    rows = [{"item_id": f"i{n}", "title": f"Tea {n}", "item_text": f"Tea {n}. Tin", **counts} for n in range(9)]
    catalogue = Catalogue.from_table(pa.Table.from_pylist(rows), seed=1)
    user = UserState(
        items=(*(f"i{n}" for n in range(8)), "gone"),
        values=(5.0, 4.0, None, 1.0, 5.0, 5.0, 5.0, 2.0, 5.0),
        mean_rating=3.857,
    )
    profile, item = pair_texts(user, "i8", catalogue, like_from=4.0)
    assert profile == "gives 3.9 stars. liked Tea 6; Tea 5; Tea 4; Tea 2; Tea 1. disliked Tea 7; Tea 3"
    assert item == "Tea 8. Tin"
    assert pair_texts(UserState(), "i8", catalogue, like_from=4.0)[0] == ""


def test_an_untrained_encoder_gives_the_shares_of_the_shop(model) -> None:
    encoder, reason = load_cross_encoder(settings_of(model), start=(0.4, 3.6))
    likes, ratings = encoder.outputs([("likes tea", "tea"), ("", "coffee 12")])
    torch.testing.assert_close(likes, torch.full((2,), 0.4))
    torch.testing.assert_close(ratings, torch.full((2,), 3.6))
    assert reason == "float32, as set"


def test_pairs_are_answered_in_their_order_whatever_their_length(model) -> None:
    encoder = load_cross_encoder(settings_of(model), start=(0.0, 3.0))[0]
    torch.manual_seed(1)
    torch.nn.init.normal_(encoder.heads.weight)
    texts = [(f"user {'x' * (n * 7 % 11)}", f"item {n}") for n in range(70)]
    likes, ratings = encoder.outputs(texts)
    for place in (0, 33, 69):
        alone = encoder.outputs([texts[place]])
        torch.testing.assert_close(alone, (likes[place : place + 1], ratings[place : place + 1]), rtol=1e-4, atol=1e-4)
    swapped = encoder.outputs([(texts[5][1], texts[5][0])])[0]
    assert abs(float(swapped - likes[5])) > 1e-4, "which of the two is the user makes a difference"


def test_both_are_trained_and_weighed(fitted) -> None:
    training, vectors, folder, said = fitted
    summary = json.loads((folder / "summary.json").read_text())["metrics"]
    assert summary["cross_encoder_step"] > 0
    assert summary["cross_encoder_rmse"] < 1.45, "the ratings' own spread is 1.5"
    assert summary["stacked_rmse"] <= min(summary["light_rmse"], summary["cross_encoder_rmse"]) + 1e-3
    assert any(line.startswith("cross-encoder step 4/12: mean loss") for line in said)
    scorer = load_scorer(folder, ItemVectors.load(vectors))
    assert isinstance(scorer, StackedScorer)
    evaluated = evaluate_scorer(scorer, training, "test")
    assert evaluated["models"]["pair_scorer"]["rmse"] < evaluated["models"]["global_mean"]["rmse"]
    assert sum(one["n"] for one in evaluated["reliability"]) == evaluated["n_pairs"] == 60


def test_saved_and_loaded_it_scores_the_same(fitted, tmp_path) -> None:
    _, vectors, folder, _ = fitted
    scorer = load_scorer(folder, ItemVectors.load(vectors))
    user = UserState(items=("i1", "i2"), values=(5.0, 2.0), mean_rating=3.5, n_ratings=2)
    before = scorer.score(user, ["i3", "i4"])
    assert [one.item_id for one in before] == ["i3", "i4"]
    assert scorer.score(user, []) == []
    scorer.save(tmp_path)
    assert load_scorer(tmp_path, ItemVectors.load(vectors)).score(user, ["i3", "i4"]) == before
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".pkl", ".bin", ".pt"}]


def test_one_seed_gives_the_same_bytes(fitted, model, tmp_path) -> None:
    training, vectors, folder, _ = fitted
    fit_scorer(FitContext(training, 1, threads=1, progress=[].append), vectors, tmp_path / "again", settings_of(model))
    for name in ("cross_encoder/model.safetensors", "cross_encoder/heads.safetensors", "stack.json"):
        assert file_digest(tmp_path / "again" / name) == file_digest(folder / name), name


def test_what_is_held_out_of_training_is_not_weighed_by_the_catalogue(model, tmp_path) -> None:
    training, vectors = write_shop(tmp_path, n_train=210, n_validation=0)
    found = []
    for name in ("even", "uneven"):
        fit = FitContext(training, 1, threads=1, progress=[].append)
        summary = fit_scorer(fit, vectors, tmp_path / name, settings_of(model, max_steps=2))
        found.append((summary.metrics, summary.choices["stack"]))
        counted_by(vectors, lambda item: {"item_mean_rating": 1.0 + item % 5, "item_n_ratings": 50})
    assert found[0] == found[1]


def test_training_that_brings_nothing_stops_and_is_not_kept(model, tmp_path) -> None:
    training, vectors = write_shop(tmp_path, n_train=210)
    said: list[str] = []
    wild = settings_of(model, learning_rate=1.0, max_steps=30, look_every=2, patience=2)
    summary = fit_scorer(FitContext(training, 1, threads=1, progress=said.append), vectors, tmp_path / "scorer", wild)
    assert summary is not None
    assert summary.metrics["cross_encoder_step"] == 0
    assert summary.metrics["stacked_rmse"] == pytest.approx(summary.metrics["light_rmse"], abs=0.02)
    assert not any("step 6/" in line for line in said)


def test_the_stack_takes_the_better_one_and_never_turns_the_other() -> None:
    truth = torch.from_numpy(np.random.default_rng(0).normal(size=400)).float()
    likes, ratings = (truth > 0).float(), 3 + truth
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=400)).float()
    good, bad = (3 * truth + noise, ratings + 0.1 * noise), (-truth, 3 - truth)
    for stack, of_bad in (
        (Stack.fit(good, bad, likes, ratings), "language"),
        (Stack.fit(bad, good, likes, ratings), "light"),
    ):
        for weights in (stack.like, stack.rating):
            assert getattr(weights, of_bad) == 0
            assert max(weights.light, weights.language) > 0.5
    assert Stack.fit(good, bad, torch.ones(400), ratings).like == Weights(1.0, 0.0, 0.0)


def test_no_weight_of_the_stack_is_negative_and_none_that_may_be_does_better() -> None:
    generator = np.random.default_rng(3)

    def loss(
        weights: Weights, answers: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor, logistic: bool
    ) -> float:
        measure = torch.nn.functional.binary_cross_entropy_with_logits if logistic else torch.nn.functional.mse_loss
        return float(measure(weights(*answers).double(), target.double())) + PENALTY * (
            weights.light**2 + weights.language**2
        )

    n_alone = n_none = 0
    for _ in range(20):
        truth = torch.from_numpy(generator.normal(size=60)).float()
        likes, ratings = (truth > 0.3).float(), 3 + truth
        noisy = torch.from_numpy(generator.normal(size=(2, 60))).float()
        signs = generator.choice([-1.0, 0.0, 1.0], size=2)
        light, language = (float(sign) * truth + noise for sign, noise in zip(signs, noisy, strict=True))
        stack = Stack.fit((light, 3 + light), (language, 3 + language), likes, ratings)
        for weights, target, logistic in ((stack.like, likes, True), (stack.rating, ratings, False)):
            assert weights.light >= 0
            assert weights.language >= 0
            n_none += weights.light == weights.language == 0
            n_alone += (weights.light == 0) != (weights.language == 0)
            answers = (light, language) if logistic else (3 + light, 3 + language)
            best = loss(weights, answers, target, logistic)
            for _ in range(20):
                moved = np.array([weights.light, weights.language, weights.offset]) + generator.normal(
                    scale=0.1, size=3
                )
                nearby = Weights(max(0.0, moved[0]), max(0.0, moved[1]), moved[2])
                assert loss(nearby, answers, target, logistic) >= best - 1e-9
    assert n_none >= 2
    assert n_alone >= 2


def test_answers_that_are_both_turned_round_are_left_out() -> None:
    truth = torch.linspace(-1, 1, 50)
    likes, ratings = (truth > 0.5).float(), 3 + truth
    stack = Stack.fit((-truth, 3 - truth), (-2 * truth, 3 - truth), likes, ratings)
    share = float(likes.mean())
    assert stack.like == Weights(0.0, 0.0, pytest.approx(math.log(share / (1 - share)), abs=1e-4))
    assert stack.rating == Weights(0.0, 0.0, pytest.approx(3.0, abs=1e-4))


def test_a_model_that_is_not_there_is_named(model, tmp_path) -> None:
    with pytest.raises(EncoderError, match="no-such"):
        load_cross_encoder(settings_of(tmp_path / "no-such"), start=(0.0, 3.0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CrossEncoderError, match=r"recipe\.scorer\.model=.*empty"):
        load_cross_encoder(settings_of(tmp_path / "empty"), start=(0.0, 3.0))
    with pytest.raises(CrossEncoderError, match=r"recipe\.scorer\.max_tokens=512, expected at most"):
        load_cross_encoder(CrossEncoderSettings(max_tokens=512, model=str(short_model(tmp_path, model))), (0.0, 3.0))


def short_model(folder: Path, model: Path) -> Path:
    """A model that sees 64 tokens."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    target = folder / "short"
    config = BertConfig.from_pretrained(model, max_position_embeddings=64)
    BertModel(config).save_pretrained(target)
    AutoTokenizer.from_pretrained(model).save_pretrained(target)
    return target


def test_a_damaged_component_is_named(fitted, tmp_path) -> None:
    _, vectors, folder, _ = fitted
    load_scorer(folder, ItemVectors.load(vectors)).save(tmp_path)
    items = ItemVectors.load(vectors)
    (tmp_path / "cross_encoder" / "heads.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"heads\.safetensors"):
        load_scorer(tmp_path, items)
    (tmp_path / "stack.json").write_text('{"like": {}}')
    with pytest.raises(BundleError, match=r"stack\.json"):
        load_scorer(tmp_path, items)
    (tmp_path / "stack.json").unlink()
    assert isinstance(load_scorer(tmp_path, items), PairScorer), "without a stack it is the light form"


class Store:
    """An online store that knows two ratings of every item, and one user."""

    def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        return UserState(items=("i1",), values=(5.0,), mean_rating=5.0, n_ratings=1) if user_id == "known" else None

    def read_items(self, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        return {"item_mean_rating": np.full(len(item_ids), 3.5), "item_n_ratings": np.full(len(item_ids), 2)}


def test_a_bundle_with_it_answers_score(fitted, model, tmp_path) -> None:
    _, vectors, scorer, _ = fitted
    items = ItemVectors.load(vectors)
    parts: dict[Component, Path] = {"vectors": vectors, "sequence": tmp_path / "sequence", "scorer": scorer}
    parts["sequence"].mkdir()
    shape = SequenceShape(len(items.ids), 2, width=4, n_blocks=1, n_heads=1, max_history=6, use_ids=True, use_text=True)
    learned = torch.ones(len(items.ids) + 1, dtype=torch.bool)
    SequenceModel(shape, items.text, learned, dropout=0.0, id_dropout=0.0).save(parts["sequence"])
    recipe = Recipe(scorer=settings_of(model))
    assemble_bundle(tmp_path / "b", shop="tiny", recipe=recipe, data=DATA, components=parts, code_version="test")
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.recipe.scorer == settings_of(model)
    engine = Engine(model="m:1", bundle=bundle, features=Store(), max_k=5)
    answer = engine.score(ScoreRequest(item_ids=["i3", "i4"], user_id="known"))
    ratings = ItemRatings(np.full(2, 3.5), np.full(2, 2.0))
    expected = load_scorer(scorer, items).score(Store().read_user("known"), ["i3", "i4"], ratings)
    for got, wanted in zip(answer.items, expected, strict=True):
        assert got.item_id == wanted.item_id
        assert (got.p_like, got.rating) == pytest.approx((wanted.p_like, wanted.rating), abs=1e-6)


def test_many_threads_ask_at_once(fitted) -> None:
    _, vectors, folder, _ = fitted
    scorer = load_scorer(folder, ItemVectors.load(vectors))
    user = UserState(items=("i1",), values=(5.0,), mean_rating=5.0, n_ratings=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: scorer.score(user, ["i3", "i4"]), range(32)))
    assert all(answer == answers[0] for answer in answers)


def test_the_arithmetic_may_be_shorter(model) -> None:
    exact = load_cross_encoder(settings_of(model), start=(0.0, 3.0))[0]
    torch.nn.init.normal_(exact.heads.weight)
    rough = CrossEncoder(exact.model, exact.tokenizer, 48, torch.bfloat16)
    rough.heads = exact.heads
    texts = [("likes tea", "tea 1"), ("likes coffee", "tea 2")]
    difference = (exact.outputs(texts)[0] - rough.outputs(texts)[0]).abs().max()
    assert 0 < float(difference) < 0.2
    assert exact.model.dtype == torch.float32


def test_the_kind_is_chosen_by_one_word() -> None:
    assert load_settings().recipe.scorer == ScorerSettings()
    chosen = load_settings(
        overrides=["recipe.scorer.kind=cross_encoder", "recipe.scorer.light.hidden=32"]
    ).recipe.scorer
    assert isinstance(chosen, CrossEncoderSettings)
    assert (chosen.model, chosen.light.hidden, chosen.learning_rate) == ("minilm", 32, 2e-5)
    assert math.isclose(chosen.weight_decay, 0.01)


def test_a_language_model_that_diverges_or_is_broken_is_refused(fitted, model, tmp_path) -> None:
    training, vectors, component, _ = fitted
    with pytest.raises(NotFinite, match=r"Cannot fit cross-encoder: (loss|length of the gradient)=(nan|inf)"):
        fit_scorer(
            FitContext(training, 1, threads=1), vectors, tmp_path / "scorer", settings_of(model, learning_rate=1e30)
        )
    assert not (tmp_path / "scorer").exists()
    scorer = load_scorer(component, ItemVectors.load(vectors))
    assert isinstance(scorer, StackedScorer)
    with torch.inference_mode():
        scorer.encoder.heads.bias.fill_(torch.inf)
    with pytest.raises(NotFinite, match="scores of cross-encoder: scores=inf in 1 of 1"):
        scorer.score(UserState(), ["i1"])
    with torch.inference_mode():
        next(scorer.encoder.model.parameters()).fill_(torch.nan)
    with pytest.raises(BundleError, match=r"Cannot save weights: cross-encoder: .* numbers that are not finite"):
        scorer.encoder.save(tmp_path)
    scorer.encoder.model.save_pretrained(tmp_path / "broken")
    scorer.encoder.tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(CrossEncoderError, match="numbers that are not finite"):
        load_cross_encoder(settings_of(tmp_path / "broken"), (0.0, 3.0))
