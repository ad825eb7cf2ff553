"""Judging: whole-catalogue ranking under the global time split, baselines and model on the same queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recommender.baselines import NeighbourRanker, PopularityRanker, TextRanker
from recommender.bundle import Bundle
from recommender.errors import TrainingDataError
from recommender.ids import IdMap
from recommender.metrics import PER_QUERY, bootstrap_interval, coverage, metric_key
from recommender.queries import Queries, read_queries
from recommender.ranker import Ranker, Scores, best_indices
from recommender.schema import Split

QUERIES_PER_PASS = 256
SERVED = "blend"  # names the ranker of a bundle as it answers, whatever it blends
# Known items of a history, from and to; a blend is judged in each.
HISTORY_LENGTHS = {"0": (0, 0), "1-2": (1, 2), "3-5": (3, 5), "6-10": (6, 10), ">10": (11, 10**9)}


@dataclass(frozen=True)
class RankingJudgement:
    """How one ranker did on each query.

    Attributes:
        k: Length of the lists.
        per_query: Metric name (`ndcg`) to its values, shape (n_queries,).
        lists: Item indices of the ranker's own id map, 0 where a list is short. Shape (n_queries, k).
        n_items: Size of the ranker's catalogue.
    """

    k: int
    per_query: dict[str, np.ndarray]
    lists: np.ndarray
    n_items: int

    def summary(self, group: np.ndarray | None = None) -> dict[str, float]:
        """Means over all queries, or over those of a group (shape (n_queries,), bool), by `ndcg_at_10`-like keys."""
        chosen = np.ones(len(self.lists), dtype=bool) if group is None else group
        means = {metric_key(name, self.k): float(values[chosen].mean()) for name, values in self.per_query.items()}
        return {**means, metric_key("coverage", self.k): coverage(self.lists[chosen], self.n_items)}


@dataclass(frozen=True)
class Comparison:
    """Two bundles on the same queries. `low` and `high` bound the difference, candidate minus champion, at 95 %."""

    metric: str
    candidate: float
    champion: float
    difference: float
    low: float
    high: float
    n_queries: int


def judge_ranking(ranker: Scores, queries: Queries, k: int) -> RankingJudgement:
    """Rank the ranker's whole catalogue for every query; a target that it does not know is a miss.

    Raises:
        TrainingDataError: there is no query.
    """
    if not len(queries):
        raise TrainingDataError(
            "Cannot judge ranking",
            got="queries=0",
            expected="users with new items in the window",
            do="Give more interactions, or larger shares under recipe.evaluation",
        )
    lists = np.concatenate(
        [
            best_indices(ranker.scores(queries.users[start : start + QUERIES_PER_PASS]), k)
            for start in range(0, len(queries), QUERIES_PER_PASS)
        ]
    )
    hits = _hits(lists, queries, ranker.ids)
    per_query = {name: metric(hits, queries.n_targets) for name, metric in PER_QUERY.items()}
    return RankingJudgement(k=k, per_query=per_query, lists=lists, n_items=len(ranker.ids))


def evaluate_ranking(rankers: dict[str, Scores], queries: Queries, k: int, seed: int) -> dict[str, Any]:
    """Judge several rankers on the same queries.

    Args:
        rankers: Name to ranker; the last one is the model, the others what it is compared with.
        seed: Of the bootstrap.
    Returns:
        JSON-able: `ranking` {model: {metric: mean}}, the same by group under `groups`, `n_queries`, `differences`
        {model it is compared with: {metric: {mean, low, high}}} with 95 % intervals, and `by_history_length`
        {known items: {n_queries, model: ndcg}}.
    """
    judged = {name: judge_ranking(ranker, queries, k) for name, ranker in rankers.items()}
    warm = queries.is_warm
    groups = {name: members for name, members in (("warm", warm), ("cold", ~warm)) if members.any()}
    *others, model = rankers
    return {
        "k": k,
        "n_queries": {"all": len(queries), "warm": int(warm.sum()), "cold": int((~warm).sum())},
        "ranking": {name: judgement.summary() for name, judgement in judged.items()},
        "groups": {
            group: {name: judgement.summary(members) for name, judgement in judged.items()}
            for group, members in groups.items()
        },
        "differences": {other: _differences(judged[model], judged[other], seed) for other in others},
        "by_history_length": _by_history_length(judged, queries, rankers[model].ids),
    }


def _by_history_length(
    judged: dict[str, RankingJudgement], queries: Queries, ids: IdMap
) -> dict[str, dict[str, float | int]]:
    """NDCG of every ranker where the history has so many items that the model knows; empty groups are left out."""
    lengths = np.array([len(ids.known_indices(user.items)) for user in queries.users])
    table: dict[str, dict[str, float | int]] = {}
    for name, (least, most) in HISTORY_LENGTHS.items():
        members = (lengths >= least) & (lengths <= most)
        if members.any():
            ndcg = {model: float(one.per_query["ndcg"][members].mean()) for model, one in judged.items()}
            table[name] = {"n_queries": int(members.sum()), **ndcg}
    return table


def judge_bundle(bundle: Bundle, training: Path, k: int, split: Split = "test") -> dict[str, Any]:
    """The metric table of a bundle: popularity, the text encoder before fine-tuning, each part, and the blend served.

    Returns:
        What `evaluate_ranking` returns, with `split`, `scorer` and `writer` (None where the bundle has none).
    Raises:
        TrainingDataError: the window has no query.
    """
    vectors = bundle.ranker.vectors
    rankers: dict[str, Scores] = {
        "popularity": PopularityRanker(vectors),
        "text_encoder": TextRanker(vectors),
    }
    if bundle.ranker.neighbours is not None:
        rankers["neighbours"] = NeighbourRanker(vectors, bundle.ranker.neighbours)
    rankers["sequence"] = Ranker(vectors, bundle.ranker.model)
    rankers[SERVED] = bundle.ranker
    seed = bundle.manifest.recipe.seed
    ranking = evaluate_ranking(rankers, read_queries(training, split), k, seed)
    return {"split": split, **ranking, **_judge_words(bundle, training, split, seed)}


def _judge_words(bundle: Bundle, training: Path, split: Split, seed: int) -> dict[str, Any]:
    """The scorer's and the writer's measures; None for one that the bundle does not have."""
    # The writer drags transformers in, which the ranking alone does not need.
    from recommender.scorer_evaluation import evaluate_scorer
    from recommender.writer_evaluation import evaluate_writer

    scorer, writer = bundle.scorer, bundle.writer
    return {
        "scorer": None if scorer is None else evaluate_scorer(scorer, training, split),
        "writer": None if writer is None else evaluate_writer(writer, training, bundle.catalogue, split, seed=seed),
    }


def compare_bundles(candidate: Bundle, champion: Bundle, training: Path, k: int, metric: str) -> Comparison:
    """Judge two bundles on the same test queries, those of the candidate's data.

    The champion ranks its own catalogue, so a target it does not know is its miss.

    Args:
        metric: A name of `metrics.PER_QUERY`, e.g. "ndcg".
    """
    queries = read_queries(training, "test")
    ours = judge_ranking(candidate.ranker, queries, k).per_query[metric]
    theirs = judge_ranking(champion.ranker, queries, k).per_query[metric]
    low, high = bootstrap_interval(ours - theirs, candidate.manifest.recipe.seed)
    return Comparison(
        metric=metric_key(metric, k),
        candidate=float(ours.mean()),
        champion=float(theirs.mean()),
        difference=float((ours - theirs).mean()),
        low=low,
        high=high,
        n_queries=len(queries),
    )


def _hits(lists: np.ndarray, queries: Queries, ids: IdMap) -> np.ndarray:
    """Whether the item at each place is a target. Shape (n, k), bool."""
    hits = np.zeros(lists.shape, dtype=bool)
    for row, targets in enumerate(queries.targets):
        hits[row] = np.isin(lists[row], ids.known_indices(targets))
    return hits


def _differences(model: RankingJudgement, other: RankingJudgement, seed: int) -> dict[str, dict[str, float]]:
    differences = {}
    for name, values in model.per_query.items():
        by_query = values - other.per_query[name]
        low, high = bootstrap_interval(by_query, seed)
        differences[metric_key(name, model.k)] = {"mean": float(by_query.mean()), "low": low, "high": high}
    return differences
