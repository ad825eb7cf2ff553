"""Fits the baselines that a bundle is compared with, from well-kept libraries; each is tuned on the validation window.

Item-kNN and ALS are `implicit`'s, BM25 is `bm25s`'s, SASRec is the sequence model here with ids alone.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core import schema
from core.settings.evaluation import BaselineKind, BaselineName
from core.settings.features import FeatureSettings
from core.settings.models import SequenceSettings
from core.settings.tree import Recipe
from core.storage import atomic_folder
from recommender.errors import TrainingDataError
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary, Progress
from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import POPULARITY, window_counts
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries, read_queries, sample_queries
from recommender.inputs.sequences import read_user_items
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.texts import SPACELESS, index_terms
from recommender.metrics.top_k import Scores
from recommender.ranking.baseline_ranker import POPULARITIES, BaselineRanker, item_matrix
from recommender.ranking.ranker import Ranker
from recommender.retrieval.history import HistoryRanker
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ANY_RANKER = TypeVar("ANY_RANKER", bound=Scores)
# Of the validation window: enough to choose a handful of settings by.
MAX_QUERIES = 1000
KNN_NEIGHBOURS = (20, 100, 500)
ALS_FACTORS = (16, 64)
ALS_REGULARISATIONS = (0.01, 1.0, 10.0)
ALS_ITERATIONS = 15
# How many of a history's newest items speak for it.
BM25_ITEMS = (1, 3, 10)
SASREC_THREADS = 2
SASREC_DROPOUTS = (0.5, 0.2)


@dataclass(frozen=True)
class Tuned(Generic[ANY_RANKER]):
    """A baseline, and the settings that it was built with."""

    ranker: ANY_RANKER
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """How the settings of a baseline are chosen.

    Attributes:
        name: Of the baseline.
        validation: The queries that the settings are tried on.
        k: Length of the list.
        held: The settings that were chosen before; None: choose.
    """

    name: str
    validation: Queries
    k: int
    progress: Progress
    held: Mapping[str, Any] | None = None

    def choose(self, grid: Sequence[Mapping[str, Any]], build: Callable[..., ANY_RANKER]) -> Tuned[ANY_RANKER]:
        """The one with the best validation NDCG, the first of equals; the first where there is nothing to choose by."""
        if self.held is not None:
            return Tuned(build(**self.held), self.held)
        if not len(self.validation):
            return Tuned(build(**grid[0]), grid[0])
        tried = []
        for settings in grid:
            ranker = build(**settings)
            ndcg = evaluate_ranker(ranker, self.validation, self.k, name=f"baseline {self.name}").per_query["ndcg"]
            tried.append((float(ndcg.mean()), Tuned(ranker, settings)))
        value, best = max(tried, key=lambda one: one[0])
        chosen = ", ".join(f"{key}={setting:g}" for key, setting in best.settings.items())
        self.progress(f"baseline {self.name}: {chosen}, validation {metric_key('ndcg', self.k)} {value:.4f}")
        return best


def fit_baselines(fit: FitContext, names: Sequence[BaselineName], vectors: Path, recipe: Recipe) -> dict[str, Scores]:
    """Fit baselines on the training sequences of a training set.

    Args:
        names: Which ones. `popularity_recent` is left out where the training set has no counts of a recent window.
        vectors: The `vectors` component, whose ids and texts they use.
        recipe: Its history length, and the sequence model that SASRec is a plain form of.
    Returns:
        Name to ranker, in the order of the names.
    Raises:
        TrainingDataError: a table is missing, or there is too little to train SASRec on.
        BundleError: the vectors cannot be read.
    """
    items, validation = ItemVectors.load(vectors), _validation_queries(fit)
    tuned = {name: _fit(fit, name, vectors, items, validation, recipe) for name in names}
    return {name: one.ranker for name, one in tuned.items() if one is not None}


def _validation_queries(fit: FitContext) -> Queries:
    return sample_queries(read_queries(fit.training, "validation"), MAX_QUERIES, fit.seed, warm_only=True)


def _fit(
    fit: FitContext, name: BaselineName, vectors: Path, items: ItemVectors, validation: Queries, recipe: Recipe
) -> Tuned[Any] | None:
    held = fit.held_summary()
    search = Grid(name, validation, fit.k, fit.progress, None if held is None else held.choices)
    if name == "popularity_recent":
        return fit_recent_popularity(items, search, recipe.features.windows_days)
    if name == "bm25":
        return fit_bm25(items, search)
    if name == "sasrec":
        return fit_sasrec(fit, vectors, items, recipe, search)
    had = item_matrix(read_user_items(fit.training, items.ids), len(items.ids))
    if name == "item_knn":
        return fit_item_knn(items, had, search)
    if name == "als":
        return fit_als(items, had, search, fit.seed)
    assert_never(name)


def fit_baseline(
    fit: FitContext,
    kind: BaselineKind,
    vectors: Path,
    target: Path,
    recipe: Recipe,
    *,
    interactions: Path | None = None,
) -> BaselineRanker:
    """Fit one that can serve, equal to the one that the evaluation ranks with, and write its component.

    Where `fit.held` is given, its settings are taken over: the window, the number of neighbours.

    Args:
        target: The `baseline` component's folder.
        interactions: The clean events, of which popularity makes its lists; None: of the training events alone.
    Raises:
        TrainingDataError: a table is missing, or the training set has no counts of a recent window.
        BundleError: the vectors cannot be read.
    """
    started, items = time.monotonic(), ItemVectors.load(vectors)
    tuned: Tuned[Any] | None
    if kind == "popularity" or kind == "text_encoder":
        tuned = Tuned(BaselineRanker(items, kind), {})
    else:
        tuned = _fit(fit, kind, vectors, items, _validation_queries(fit), recipe)
    if tuned is None:
        raise TrainingDataError(
            "Cannot fit baseline",
            got=f"kind={kind} without counts of a recent window",
            expected="events within recipe.features.windows_days",
            where=str(fit.training),
            do="Build the training set again, or give longer windows",
        )
    ranker: BaselineRanker = tuned.ranker
    if interactions is not None and kind in POPULARITIES:
        ranker = ranker.up_to(*_counts_so_far(interactions, ranker.ids, ranker.window_days, recipe.features))
    seconds, choices = time.monotonic() - started, dict(tuned.settings)
    with atomic_folder(target) as folder:
        ranker.save(folder)
        FitSummary(folder=target, epochs=1, best_epoch=1, metrics={}, seconds=seconds, choices=choices).write(folder)
    return ranker


def _counts_so_far(
    interactions: Path, ids: IdMap, window_days: int | None, features: FeatureSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Events of each item that count, and those of the days before the newest one. Shapes (n_items,)."""
    events = pq.read_table(interactions, columns=[schema.ITEM_ID, schema.EVENT, schema.TIMESTAMP])
    ignored = pc.is_in(events[schema.EVENT], value_set=pa.array(features.ignored_events, pa.string()))
    events = events.filter(pc.invert(ignored))
    since = pc.subtract(pc.max(events[schema.TIMESTAMP]), pa.scalar(timedelta(days=window_days or 0)))
    counts = []
    for chosen in (events, events.filter(pc.greater(events[schema.TIMESTAMP], since))):
        found = {row["values"]: row["counts"] for row in chosen[schema.ITEM_ID].value_counts().to_pylist()}
        counts.append(np.array([found.get(item_id, 0) for item_id in ids], dtype=np.float64))
    return counts[0], counts[1]


def fit_recent_popularity(
    items: ItemVectors, search: Grid, windows_days: Sequence[int]
) -> Tuned[BaselineRanker] | None:
    """By one of the windows that the feature store counts, the longest of equals; None where none holds an event.

    A window ends when a query is asked, as for what serves: one may do that held nothing at the cut-off.
    """
    counted = window_counts(items.catalogue.table.column(POPULARITY).to_pylist())  # (n_items, n_windows)
    then = next((user.items_then for user in search.validation.users if user.items_then is not None), None)
    known = [counted] if then is None else [counted, then.of(items.ids).popularity]
    n_windows = max(counts.shape[1] for counts in known)
    known = [np.pad(counts, ((0, 0), (0, n_windows - counts.shape[1]))) for counts in known]
    grid = [{"window": w} for w in range(n_windows, 0, -1) if any(counts[:, w - 1].any() for counts in known)]
    if not grid:
        return None

    def build(window: int) -> BaselineRanker:
        days, recent = sorted(windows_days)[window - 1], known[0][:, window - 1]
        return BaselineRanker(items, "popularity_recent", recent=recent, window_days=days, window=window - 1)

    return search.choose(grid, build)


def fit_item_knn(items: ItemVectors, had: csr_matrix, search: Grid) -> Tuned[BaselineRanker]:
    """Cosines of items by who had them; a history's score of an item is the sum over its entries."""
    from implicit.nearest_neighbours import CosineRecommender

    def build(n_neighbours: int) -> BaselineRanker:
        model = CosineRecommender(K=n_neighbours, num_threads=1)
        _fit_quietly(model, had)
        return BaselineRanker(items, "item_knn", weights=model.similarity)

    return search.choose([{"n_neighbours": n} for n in KNN_NEIGHBOURS], build)


def fit_als(items: ItemVectors, had: csr_matrix, search: Grid, seed: int) -> Tuned[HistoryRanker]:
    """Implicit-feedback matrix factorisation; a user's factors are solved for from the history as it stands.

    Source: Hu, Koren & Volinsky 2008, Collaborative Filtering for Implicit Feedback Datasets.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    def build(factors: int, regularisation: float) -> HistoryRanker:
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularisation,
            iterations=ALS_ITERATIONS,
            num_threads=1,
            random_state=seed,
        )
        _fit_quietly(model, had)

        def score(histories: list[list[int]]) -> np.ndarray:
            users = model.recalculate_user(np.arange(len(histories)), item_matrix(histories, len(items.ids)))
            scores: np.ndarray = users @ model.item_factors.T
            return scores

        return HistoryRanker(items, score, "baseline als")

    grid = [{"factors": f, "regularisation": r} for f, r in product(ALS_FACTORS, ALS_REGULARISATIONS)]
    return search.choose(grid, build)


def fit_bm25(items: ItemVectors, search: Grid) -> Tuned[HistoryRanker] | None:
    """BM25 over the items' texts, the query being the texts of the newest items; None where no item has words.

    Source: Robertson & Zaragoza 2009, in the form of Lù 2024, BM25S.
    """
    import bm25s

    tokens = [
        [term for term in index_terms(text) if len(term) > 1 or SPACELESS.match(term)] for text in items.catalogue.texts
    ]
    if not any(tokens):
        return None
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)

    def build(n_items: int) -> HistoryRanker:
        def score(histories: list[list[int]]) -> np.ndarray:
            rows = np.zeros((len(histories), len(items.ids)), dtype=np.float32)
            for row, history in enumerate(histories):
                query = [token for index_ in history[-n_items:] for token in tokens[index_ - 1]]
                if query:
                    rows[row] = index.get_scores(query)
            return rows

        return HistoryRanker(items, score, "baseline bm25")

    return search.choose([{"n_items": n} for n in BM25_ITEMS], build)


def fit_sasrec(fit: FitContext, vectors: Path, items: ItemVectors, recipe: Recipe, search: Grid) -> Tuned[Ranker]:
    """The sequence model as it is usually copied: attention over learned ids, and nothing else.

    It has the recipe's training: width, blocks, rate, epochs, early stopping, averaged weights.

    Source: Kang & McAuley 2018; the softmax loss is Klenitskiy & Vasilev 2023.
    """
    own = replace(fit, threads=SASREC_THREADS, held=None)

    def build(dropout: float) -> Ranker:
        with tempfile.TemporaryDirectory() as name:
            target = Path(name) / "sequence"
            fit_sequence(own, vectors, target, plain_sasrec(recipe, dropout), recipe.features.max_history)
            return Ranker(items, load_sequence_model(target, items, fit.device))

    return search.choose([{"dropout": dropout} for dropout in SASREC_DROPOUTS], build)


def plain_sasrec(recipe: Recipe, dropout: float) -> SequenceSettings:
    """The recipe's sequence model without filter, texts, any other content, or a leaning on popularity."""
    plain = {"use_ids": True, "use_text": False, "use_modality": False, "filter_share": 0.0, "id_dropout": 0.0}
    return recipe.sequence.model_copy(update={**plain, "popularity_weights": (0.0,), "dropout": dropout})


def _fit_quietly(model: Any, had: csr_matrix) -> None:
    """Fit a model of `implicit`, which warns of a conversion that it makes by itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Method expects CSR input")
        model.fit(had, show_progress=False)
