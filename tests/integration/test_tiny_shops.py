"""Shops at the edge of what can be learned from: each is fitted, evaluated and answered with, or refused in a sentence.

No raw exception, no number that is none: from the clean tables through the features, every fit, the baselines, the
evaluation with its report, to a bundle that answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.refresh import refresh_features
from features.training import build_training_set
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.loading import Bundle, load_bundle
from recommender.bundle.manifest import Component
from recommender.errors import TrainingDataError
from recommender.evaluation.baselines import fit_baseline
from recommender.evaluation.evaluation import evaluate_bundle
from recommender.evaluation.judgement import judge_bundles
from recommender.evaluation.report import write_report
from recommender.explaining.training import fit_explainer
from recommender.fitting.context import FitContext
from recommender.inputs.queries import read_queries
from recommender.inputs.user import UserState
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.blend_training import fit_blend
from recommender.retrieval.generative.training import fit_generative
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.scoring.training import fit_scorer
from recommender.tuning.trial_evaluation import evaluate_on_validation
from recommender.writing.training import fit_writer
from tests.integration.tiny_shops import SHOPS, numbers, recipe_of
from tests.unit.features.shops import write_shop
from tests.unit.recommender.tiny_shop import DATA, save_tiny_encoder

pytestmark = pytest.mark.long

K = 5
# What a shop is refused with, and by which step; the others are fitted from end to end.
REFUSED = {
    "one item": ("vectors", "sequences with two known items=0 of 30, expected at least 1"),
    "one moment": ("training set", "distinct_timestamps=1, expected at least 3, one for each window"),
    "nothing new in the windows": ("sequence", "validation queries with a history=0 of 0, expected at least 1"),
}
# Which of the optional parts a shop has enough for.
PARTS: dict[str, set[Component]] = {
    "all ratings 3": {"scorer", "writer"},
    "all ratings 5": {"scorer", "writer"},
    "one category": {"scorer"},
    "items without text": {"scorer"},
    "an item that everyone has": {"scorer"},
    "a user with 10,000 events": {"scorer"},
    "no ratings, but reviews": {"writer"},
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")


class Way:
    """The steps from clean tables to a bundle; `at` is the one that runs."""

    def __init__(self, folder: Path, name: str, encoder: Path) -> None:
        shop = SHOPS[name]()
        self.folder, self.recipe, self.at = folder, recipe_of(encoder), "clean tables"
        self.training = folder / "training"
        self.clean = write_shop(folder / "clean", shop.events, items=shop.items, reviews=shop.reviews)

    def go(self) -> Bundle:
        recipe, folder = self.recipe, self.folder
        self.do("features", refresh_features, self.clean, folder / "feast", recipe.features)
        self.at = "training set"
        feast, windows = folder / "feast", recipe.evaluation
        found = build_training_set(self.clean, feast, self.training, recipe.features, windows)
        fit, history = FitContext(self.training, 1, K, threads=1), recipe.features.max_history
        vectors, sequence = folder / "vectors", folder / "sequence"
        self.do("vectors", embed_catalogue, fit, vectors, recipe.encoder)
        self.do("sequence", fit_sequence, fit, vectors, sequence, recipe.sequence, history)
        self.do(
            "blend",
            fit_blend,
            fit,
            vectors,
            sequence,
            folder / "blend",
            (recipe.neighbours, recipe.item_knn),
            recipe.blend,
        )
        self.do("generative", fit_generative, fit, vectors, folder / "generative", recipe.generative, history)
        self.do("scorer", fit_scorer, fit, vectors, folder / "scorer", recipe.scorer)
        self.do("writer", fit_writer, fit, folder / "writer", recipe.writer)
        self.do("explainer", fit_explainer, fit, vectors, folder / "explainer", recipe.reasons)
        self.at = "bundle"
        optional: tuple[Component, ...] = ("generative", "scorer", "writer", "explainer")
        names: tuple[Component, ...] = ("vectors", "sequence", "blend", *optional)
        there = {name: folder / name for name in names if (folder / name).is_dir()}
        data = DATA.model_copy(update={"validation_at": found.validation_at, "test_at": found.test_at})
        given: dict[str, Any] = {"shop": "tiny", "recipe": recipe, "data": data, "code_version": "test"}
        assemble_bundle(folder / "bundle", components=there, **given)
        return load_bundle(folder / "bundle")

    def do(self, name: str, step: Callable[..., Any], *args: Any) -> None:
        self.at = name
        step(*args)


@pytest.mark.parametrize("name", [name for name in SHOPS if name not in REFUSED])
def test_it_is_fitted_evaluated_and_answered_with(name: str, encoder: Path, tmp_path: Path) -> None:
    way = Way(tmp_path, name, encoder)
    bundle = way.go()
    present = {part for part in ("scorer", "writer") if bundle.manifest.has(part)}
    assert present == PARTS.get(name, set())
    metrics = evaluate_bundle(bundle, way.training, K, clean=way.clean)
    assert metrics["n_queries"]["all"] >= 1
    assert all(math.isfinite(number) for number in numbers(metrics))
    figures = write_report(tmp_path / "report.html", metrics, title="t", subtitle="s")
    assert json.loads(figures.read_text(), parse_constant=pytest.fail)["k"] == K
    same = judge_bundles(bundle, bundle, read_queries(way.training, "test"), K, "ndcg").comparison
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    fit = FitContext(way.training, 1, K, threads=1)
    ndcg = evaluate_on_validation(
        fit, tmp_path / "vectors", tmp_path / "sequence", tmp_path / "blend", way.recipe.blend
    )
    assert ((ndcg >= 0) & (ndcg <= 1)).all()
    for kind in ("popularity", "popularity_recent", "item_knn", "text_encoder"):
        baseline = fit_baseline(fit, kind, tmp_path / "vectors", tmp_path / kind, way.recipe)
        assert_answers(baseline.top_k)
        assert_answers(BaselineRanker.load(tmp_path / kind, bundle.ranker.vectors).top_k)
    assert bundle.generative is not None
    assert_answers(bundle.ranker.top_k)
    assert_answers(bundle.generative.top_k)
    assert (metrics["reasons"] is None) == (bundle.explainer is None)
    if bundle.explainer is not None:
        assert metrics["reasons"]["factuality"] == 1.0, metrics["reasons"]
        for user in (UserState(), UserState.from_history(["i0"])):
            assert bundle.explainer.explain(user, "i0", bundle.ranker.nearest_history, seed=1).text
    if bundle.scorer is not None:
        for user in (UserState(), UserState.from_history(["i0"])):
            (score,) = bundle.scorer.score(user, ["i0"])
            assert 0 <= score.p_like <= 1
            assert 1 <= score.rating <= 5


def assert_answers(top_k: Callable[..., list[list[tuple[str, float]]]]) -> None:
    for answer in top_k([UserState(), UserState.from_history(["i0"]), UserState(attributes="cook")], K):
        assert answer
        assert all(math.isfinite(score) for _, score in answer)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_a_sentence_that_says_what_is_missing(name: str, encoder: Path, tmp_path: Path) -> None:
    way = Way(tmp_path, name, encoder)
    step, sentence = REFUSED[name]
    with pytest.raises(TrainingDataError) as refused:
        way.go()
    assert way.at == step
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")
