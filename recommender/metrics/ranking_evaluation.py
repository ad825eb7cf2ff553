"""One ranker's lists for a set of queries, and every measure of them, per query where it is per query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recommender.errors import TrainingDataError
from recommender.fitting.finiteness import finite_scores
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries, users_per_pass
from recommender.inputs.user import UserState
from recommender.metrics.lists import coverage, diversity, gini, mean_popularity, novelty, serendipity
from recommender.metrics.ranking import PER_QUERY, metric_key, ranking_auc
from recommender.metrics.top_k import ANY_RANKER, Scores, best_indices, hits_of

# Over the whole ranking, not its first k places; its mean over users is GAUC.
AUC = "gauc"


@dataclass(frozen=True)
class RankingEvaluation:
    """How one ranker did on each query.

    Attributes:
        k: Length of the lists.
        per_query: Metric name (`ndcg`) to its values, shape (n_queries,).
        lists: Item indices of the ranker's own id map, 0 where a list is short. Shape (n_queries, k).
        hits: Whether the item at each place is a target. Shape (n_queries, k), bool.
        n_items: Size of the ranker's catalogue.
    """

    k: int
    per_query: dict[str, np.ndarray]
    lists: np.ndarray
    hits: np.ndarray
    n_items: int

    def key(self, name: str) -> str:
        """`ndcg_at_10`; a measure of the whole ranking keeps its bare name."""
        return name if name == AUC else metric_key(name, self.k)

    def summary(self, group: np.ndarray | None = None) -> dict[str, float]:
        """Means over all queries, or over those of a group (shape (n_queries,), bool), by `ndcg_at_10`-like keys."""
        chosen = np.ones(len(self.lists), dtype=bool) if group is None else group
        means = {self.key(name): float(values[chosen].mean()) for name, values in self.per_query.items()}
        return {
            **means,
            self.key("coverage"): coverage(self.lists[chosen], self.n_items),
            self.key("gini"): gini(self.lists[chosen], self.n_items),
        }

    def beyond_accuracy(self, vectors: ItemVectors, expected: np.ndarray) -> RankingEvaluation:
        """The same with diversity, novelty, mean popularity and serendipity among the measures per query.

        Args:
            vectors: What is known of the items, in the ranker's own order of ids.
            expected: Popularity's lists for the same queries.
        """
        n_events = np.concatenate([[0.0], vectors.catalogue.n_events.astype(np.float64)])
        more = {
            "diversity": diversity(self.lists, vectors.text.numpy()),
            "novelty": novelty(self.lists, n_events),
            "popularity": mean_popularity(self.lists, n_events),
            "serendipity": serendipity(self.lists, self.hits, expected),
        }
        return replace(self, per_query={**self.per_query, **more})


def evaluate_ranker(
    ranker: Scores, queries: Queries, k: int, with_auc: bool = False, name: str = ANY_RANKER
) -> RankingEvaluation:
    """Rank the ranker's whole catalogue for every query; a target that it does not know is a miss.

    Args:
        with_auc: Measure the whole ranking too, which costs a pass over all scores per target. A ranker that leaves
            items out which a user has not seen, as a beam search does, has no whole ranking, and no such measure.
        name: What the ranker is called where its scores are refused.
    Raises:
        TrainingDataError: there is no query.
        NotFinite: a score is NaN or +inf.
    """
    if not len(queries):
        raise TrainingDataError(
            "Cannot evaluate ranking",
            got="queries=0",
            expected="users with new items in the window",
            do="Give more interactions, or larger shares under recipe.evaluation",
        )
    lists, aucs, ranks_all = [], list[float](), with_auc
    for some in queries.passes(len(ranker.ids)):
        scores = finite_scores(name, ranker.scores(some.users), masked=True)
        lists.append(best_indices(scores, k))
        ranks_all = ranks_all and _ranks_all(scores, some.users, ranker.ids)
        if ranks_all:
            aucs += [
                ranking_auc(row, [index - 1 for index in ranker.ids.known_indices(wanted)], len(wanted))
                for row, wanted in zip(scores, some.targets, strict=True)
            ]
        del scores  # before others are asked
    joined = np.concatenate(lists)
    hits = _hits(joined, queries, ranker.ids)
    per_query = {name: metric(hits, queries.n_targets) for name, metric in PER_QUERY.items()}
    if ranks_all:
        per_query[AUC] = np.array(aucs)
    return RankingEvaluation(k, per_query, joined, hits, len(ranker.ids))


class NdcgOfScores:
    """NDCG of many score matrices for the same queries: what the users have seen is looked up once.

    Attributes:
        targets: Per query, item indices of the targets that the catalogue knows.
        seen: Per query, places of the seen items in the catalogue, from 0.

    Args:
        name: What is ranked by is called so where its scores are refused.
    """

    def __init__(self, queries: Queries, ids: IdMap, k: int, name: str = ANY_RANKER) -> None:
        self.targets = [ids.known_indices(wanted) for wanted in queries.targets]
        self.seen = [user.seen_places(ids) for user in queries.users]
        self._n_targets, self._k, self._name = queries.n_targets, k, name

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """NDCG of each query.

        Args:
            scores: One row per query, in which seen items are set to -inf in place, or one row for all of them, which
                is repeated for a pass of them at a time. Shape (n, n_items) or (n_items,).
        Returns:
            Shape (n,).
        Raises:
            NotFinite: a score is NaN or +inf.
        """
        finite_scores(self._name, scores, masked=True)
        if scores.ndim == 2:
            hits = self._hits(scores, 0)
        else:
            size, one = users_per_pass(len(scores)), scores.astype(np.float32)
            starts = range(0, len(self.targets), size)
            parts = [self._hits(np.tile(one, (min(size, len(self.targets) - start), 1)), start) for start in starts]
            hits = np.concatenate([np.zeros((0, self._k), dtype=bool), *parts])
        found: np.ndarray = PER_QUERY["ndcg"](hits, self._n_targets)
        return found

    def _hits(self, scores: np.ndarray, start: int) -> np.ndarray:
        """At which places the targets of the queries from `start` on stand. Shape (n, k), bool."""
        stop = start + len(scores)
        for row, places in zip(scores, self.seen[start:stop], strict=True):
            row[places] = -np.inf
        return hits_of(scores, self.targets[start:stop], self._k)


def _ranks_all(scores: np.ndarray, users: Sequence[UserState], ids: IdMap) -> bool:
    """Whether every item has a place that its user has not seen."""
    left_out = scores == -np.inf
    for row, user in enumerate(users):
        left_out[row, user.seen_places(ids)] = False
    return not left_out.any()


def _hits(lists: np.ndarray, queries: Queries, ids: IdMap) -> np.ndarray:
    """Whether the item at each place is a target. Shape (n, k), bool."""
    hits = np.zeros(lists.shape, dtype=bool)
    for row, targets in enumerate(queries.targets):
        hits[row] = np.isin(lists[row], ids.known_indices(targets))
    return hits
