"""How a trial of a search is evaluated: the ranker of its components on the validation window, query by query.

The blend that is served learned its weights, and what corrects it, from the users of that window: a kind that knows
them by heart would win by that alone. So it is learned again for the figures, from what users took in the window's
earlier half, and judged by what they take in the later one. Where too few can be asked for that, as in small shops, a
fifth of the users at a time is judged by what was learned from the others.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.settings.models import BlendSettings
from core.storage import atomic_file
from recommender.bundle.loading import load_ranker
from recommender.errors import BundleError
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.inputs.queries import Queries, read_queries, sample_queries
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.significance import bootstrap_interval
from recommender.ranking import blend_training
from recommender.ranking.candidates import Candidates
from recommender.ranking.choice import MIN_LEARNED, MIN_QUERIES, Fit, Way, folds_of
from recommender.ranking.ranker import Ranker

# Enough for a steady figure, and little time beside a fit.
MAX_QUERIES = 5000


@dataclass(frozen=True)
class Gain:
    """One recipe against another on the same validation queries; `low` and `high` bound the gain at 95 %.

    `confirmed` says that the seeds had no part in choosing either.
    """

    before: float
    after: float
    gain: float
    low: float
    high: float
    n_queries: int
    n_seeds: int
    confirmed: bool

    @property
    def is_beyond_noise(self) -> bool:
        return self.low > 0


def evaluate_on_validation(
    fit: FitContext, vectors: Path, sequence: Path, blend: Path, settings: BlendSettings
) -> np.ndarray:
    """NDCG at `fit.k` of the blend as it is served, but for what it learned from the queries that judge it.

    Its kind, the variants of its parts and how cold items and users without a history are ranked stay as they were
    chosen: these are few choices, not learned weights.

    Args:
        fit: Its seed says which queries are taken where there are many; trials that are compared take the same.
        settings: What the blend was fitted with.
    Returns:
        Of each query that judges, which are the same for all trials of one training set. Shape (n_queries,), float64.
    Raises:
        TrainingDataError: the validation window has no query.
        BundleError: a component is missing or damaged.
    """
    whole, late = (read_queries(fit.training, window) for window in ("validation", "validation_late"))
    ranker = load_ranker(vectors, sequence, blend, fit.device)
    kind = ranker.blend.kind
    features = ranker.describer.names if kind in blend_training.LEARNED else ()
    learn = blend_training.relearning(kind, settings, fit, features)
    with deterministic(fit.seed, fit.threads):
        if _has_halves(whole, late):
            judging = sample_queries(late, MAX_QUERIES, fit.seed)
            if learn is not None:
                ranker = _relearned(ranker, learn, replace(whole, targets=whole.early_targets), settings, fit)
            return _ndcg(ranker, judging, fit.k)
        judging = sample_queries(whole, MAX_QUERIES, fit.seed)
        if learn is None or len(judging) < 2:
            return _ndcg(ranker, judging, fit.k)
        ndcg, folds = np.zeros(len(judging)), folds_of(len(judging), fit.seed)
        for fold in np.unique(folds):
            inside, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            of_others = _relearned(ranker, learn, judging.take(others), settings, fit)
            ndcg[inside] = _ndcg(of_others, judging.take(inside), fit.k)
        return ndcg


def _has_halves(whole: Queries, late: Queries) -> bool:
    """Whether there is enough to learn a blend from in the earlier half, and to judge it by in the later one.

    It is asked of the queries alone, and not of what a trial makes of them: all trials have one answer.
    """
    n_early = sum(bool(wanted) and warm for wanted, warm in zip(whole.early_targets, whole.is_warm, strict=True))
    return n_early >= MIN_LEARNED and int(late.is_warm.sum()) >= MIN_QUERIES


def _relearned(ranker: Ranker, learn: Fit, queries: Queries, settings: BlendSettings, fit: FitContext) -> Ranker:
    """The ranker with the blend, and its correction, that these queries teach."""
    taught = sample_queries(blend_training.warm_queries(ranker, queries), blend_training.MAX_QUERIES, fit.seed)
    way = learn(
        Candidates.of(
            lambda users: ranker.standard_scores(users, ranker.part_names),
            taught,
            ranker.ids,
            ranker.part_names,
            settings.candidates,
            ranker.describer if ranker.blend.kind in blend_training.LEARNED else None,
        )
    )
    return _ranking_by(ranker, way)


def _ranking_by(ranker: Ranker, way: Way) -> Ranker:
    other = copy.copy(ranker)
    other.blend = way.blend
    return other.corrected(way.correction)


def _ndcg(ranker: Ranker, queries: Queries, k: int) -> np.ndarray:
    return evaluate_ranker(ranker, queries, k).per_query["ndcg"].astype(np.float64)


def measure_gain(before: list[np.ndarray], after: list[np.ndarray], seed: int, confirmed: bool) -> Gain:
    """Compare two recipes by their NDCG per query, averaged over the seeds that they were fitted under.

    Args:
        before: One array per seed, each shape (n_queries,).
        after: The same of the other recipe, on the same queries.
        seed: Of the bootstrap over queries.
        confirmed: Whether the seeds had no part in choosing either.
    """
    first, second = np.mean(before, axis=0), np.mean(after, axis=0)
    low, high = bootstrap_interval(second - first, seed)
    return Gain(
        before=float(first.mean()),
        after=float(second.mean()),
        gain=float((second - first).mean()),
        low=low,
        high=high,
        n_queries=len(first),
        n_seeds=len(before),
        confirmed=confirmed,
    )


def write_ndcg(file: Path, ndcg: np.ndarray) -> None:
    """Keep what a fit reached on each query, shape (n_queries,), atomically."""
    with atomic_file(file) as temporary, temporary.open("wb") as opened:
        np.save(opened, ndcg, allow_pickle=False)


def read_ndcg(file: Path) -> np.ndarray:
    """Read what `write_ndcg` wrote.

    Raises:
        BundleError: the file is missing or damaged.
    """
    try:
        ndcg: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BundleError(
            "Cannot read a trial", got=f"file={file}", expected=f"an array, but {error}", do="Start a new search"
        ) from error
    return ndcg
