"""The product's own models as benchmarks fit and evaluate them; no other benchmark module calls a fit."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.timing import timed
from core.settings.tree import Recipe
from recommender.bundle.assembly import assemble_bundle
from recommender.bundle.data_range import DataRange
from recommender.bundle.manifest import Component
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.fitting.warm_start import WarmStart
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries
from recommender.metrics.ranking_evaluation import RankingEvaluation, evaluate_ranker
from recommender.metrics.top_k import Scores
from recommender.ranking.blend_training import fit_blend
from recommender.ranking.ranker import Ranker
from recommender.retrieval.generative.model import GenerativeModel, load_generative_model
from recommender.retrieval.generative.training import fit_generative
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from recommender.retrieval.text.embedding import embed_catalogue
from recommender.scoring.scorer import PairScorer
from recommender.scoring.training import fit_scorer
from recommender.writing.training import fit_writer

K = 10


def evaluate(ranker: Scores, queries: Queries) -> RankingEvaluation:
    """Rank the whole catalogue for every query, lists of K."""
    return evaluate_ranker(ranker, queries, K)


def recall_and_ndcg(ranker: Scores, queries: Queries) -> tuple[float, float]:
    """Means over the queries, at K."""
    per_query = evaluate(ranker, queries).per_query
    return float(per_query["recall"].mean()), float(per_query["ndcg"].mean())


@dataclass(frozen=True)
class Fitted:
    """A bundle that was fitted for a benchmark, and what that took."""

    bundle: Path
    best_epoch: int
    seconds: float


@dataclass(frozen=True)
class Fits:
    """Fits of one seed.

    Attributes:
        recipe: The settings of every model.
        seed: Of every random generator.
        threads: Of the CPU.
        device: Where torch computes, "cpu" or "cuda".
        start: The bundle whose weights they start from; None: they start from nothing.
        models: Where converted language models are kept; None: bundles have no writer.
    """

    recipe: Recipe
    seed: int
    threads: int
    device: str = "cpu"
    start: WarmStart | None = None
    models: Path | None = None

    def with_settings(self, **settings: Any) -> Fits:
        """The same with some parts of the recipe replaced."""
        return replace(self, recipe=self.recipe.model_copy(update=settings))

    def starting_from(self, start: WarmStart) -> Fits:
        """The same from the weights of a bundle."""
        return replace(self, start=start)

    def context(self, training: Path, held: Path | None = None) -> FitContext:
        """What every fit on a training set is given; `held` is the component whose choices are taken over."""
        return FitContext(
            training, self.seed, K, self.threads, print, held, self.device, start=self.start, models=self.models
        )

    def embed(self, training: Path, target: Path, held: Path | None = None) -> ItemVectors:
        """Embed the catalogue, fine-tuning the encoder where the recipe says so."""
        return embed_catalogue(self.context(training, held), target, self.recipe.encoder)

    def fit_sequence(self, training: Path, vectors: Path, target: Path, held: Path | None = None) -> FitSummary:
        """Fit the sequence model; returns the fit's summary."""
        history = self.recipe.features.max_history
        return fit_sequence(self.context(training, held), vectors, target, self.recipe.sequence, history)

    def sequence_ranker(
        self, training: Path, vectors: Path, target: Path, held: Path | None = None
    ) -> tuple[Ranker, FitSummary]:
        """A ranker by a newly fitted sequence model alone, and the fit's summary."""
        summary = self.fit_sequence(training, vectors, target, held)
        items = ItemVectors.load(vectors)
        return Ranker(items, load_sequence_model(target, items)), summary

    def fit_generative(self, training: Path, vectors: Path, target: Path) -> GenerativeModel:
        """Fit generative retrieval."""
        history = self.recipe.features.max_history
        fit_generative(self.context(training), vectors, target, self.recipe.generative, history)
        return load_generative_model(target, ItemVectors.load(vectors))

    def fit_scorer(self, training: Path, vectors: Path, target: Path) -> PairScorer:
        """Fit the pair scorer."""
        fit_scorer(self.context(training), vectors, target, self.recipe.scorer)
        return PairScorer.load(target, ItemVectors.load(vectors))

    def fit_bundle(self, training: Path, folder: Path, strict: Path | None = None) -> Fitted:
        """Fit every part that ranks, and the writer where there are `models`, and put them into a bundle.

        Args:
            training: The training set.
            folder: Where parts and bundle go.
            strict: The folder of the fits under strict leave-one-out, whose choices are held: epochs, weights,
                strengths.
        """
        parts: dict[Component, Path] = {
            "vectors": folder / "vectors",
            "sequence": folder / "sequence",
            "blend": folder / "blend",
        }
        best_epoch, seconds = timed(lambda: self._fit_parts(training, parts, strict))
        if self.models is not None and fit_writer(self.context(training), folder / "writer", self.recipe.writer):
            parts["writer"] = folder / "writer"
        data = _range_of(training)
        target = folder / "bundle"
        assemble_bundle(target, shop="benchmark", recipe=self.recipe, data=data, components=parts, code_version="")
        return Fitted(target, best_epoch, seconds)

    def _fit_parts(self, training: Path, parts: dict[Component, Path], strict: Path | None) -> int:
        held = {name: None if strict is None else strict / name for name in parts}
        self.embed(training, parts["vectors"], held["vectors"])
        summary = self.fit_sequence(training, parts["vectors"], parts["sequence"], held["sequence"])
        settings = (self.recipe.neighbours, self.recipe.item_knn)
        given = (parts["vectors"], parts["sequence"], parts["blend"], settings, self.recipe.blend)
        fit_blend(self.context(training, held["blend"]), *given)
        return summary.best_epoch


def _range_of(training: Path) -> DataRange:
    """When what a training set holds happened; leave-one-out protocols cut at no time, and say nothing of it."""
    file = training / "summary.json"
    said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    times = ("first_event_at", "last_event_at", "validation_at", "test_at", "learned_until")
    return DataRange(fingerprint="", rows=said.get("rows", {}), **{name: said.get(name, "") for name in times})
