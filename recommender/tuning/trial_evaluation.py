"""How a trial of a search is evaluated: the ranker of its components on the validation window, query by query."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.storage import atomic_file
from recommender.bundle.loading import load_ranker
from recommender.errors import BundleError
from recommender.fitting.context import FitContext
from recommender.inputs.queries import read_queries, sample_queries
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.significance import bootstrap_interval

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


def evaluate_on_validation(fit: FitContext, vectors: Path, sequence: Path, blend: Path) -> np.ndarray:
    """NDCG at `fit.k` of the blend as it is served, for each validation query.

    Args:
        fit: Its seed says which queries are taken where there are many; trials that are compared take the same.
    Returns:
        Shape (n_queries,), float64.
    Raises:
        TrainingDataError: the validation window has no query.
        BundleError: a component is missing or damaged.
    """
    queries = sample_queries(read_queries(fit.training, "validation"), MAX_QUERIES, fit.seed)
    ranker = load_ranker(vectors, sequence, blend, fit.device)
    return evaluate_ranker(ranker, queries, fit.k).per_query["ndcg"].astype(np.float64)


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
