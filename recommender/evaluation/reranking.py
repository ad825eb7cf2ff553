"""What re-ranking costs and brings: the ranker's own lists beside re-ranked ones, on the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.settings.reranking import RerankSettings
from recommender.errors import RerankError
from recommender.inputs.ids import PADDING
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import Queries, sample_queries, users_per_pass
from recommender.metrics.lists import coverage, diversity
from recommender.metrics.ranking import PER_QUERY
from recommender.metrics.significance import bootstrap_interval, sign_flip_p_values
from recommender.metrics.top_k import Scores, best_indices
from recommender.reranking.choice import divergence
from recommender.reranking.floor import Floor
from recommender.reranking.reranker import Reranker

MAX_QUERIES = 2000
STRENGTHS = (0.1, 0.3, 0.5)
FLOOR = 0.2


def variants_of(settings: RerankSettings) -> list[RerankSettings]:
    """What is evaluated: what the recipe says; where that changes nothing, a few strengths of each kind and floors."""
    if not settings.changes_nothing:
        return [settings]
    grid: list[dict[str, Any]] = [
        *({"kind": "mmr", "strength": strength} for strength in STRENGTHS),
        *({"kind": "calibration", "strength": strength} for strength in STRENGTHS),
        {"item_floor": FLOOR},
        {"provider_floor": FLOOR},
    ]
    return [settings.model_copy(update=one) for one in grid]


def evaluate_reranking(
    ranker: Scores, vectors: ItemVectors, queries: Queries, k: int, settings: RerankSettings, seed: int
) -> dict[str, Any]:
    """Measure the lists that the ranker makes itself, and those of each variant.

    Args:
        vectors: Of the catalogue that the ranker scores.
        settings: The recipe's.
        seed: Of the sample (at most 2,000 queries), and of the bootstrap.
    Returns:
        JSON-able: `n_queries` and `rows`, the ranker's own first: {kind, strength, item_floor, provider_floor, ndcg,
        diversity, coverage, divergence, rare_items, rare_providers}, the others with `cost`: {mean, low, high, p_value}
        of the NDCG, paired by user, minus is a loss. Variants that the catalogue does not allow are left out, unless
        it is the recipe's.
    Raises:
        RerankError: the recipe's re-ranking looks at what the catalogue lacks.
    """
    asked = sample_queries(queries, MAX_QUERIES, np.random.default_rng([seed, 5]))
    own = Reranker(vectors, settings.model_copy(update={"kind": "none", "item_floor": 0.0, "provider_floor": 0.0}))
    rerankers = [own, *_allowed(own, settings)]
    lists = _lists(ranker, rerankers, asked, k)
    measured = [_Lists(own, asked, one, k) for one in lists]
    rows = [measured[0].row(own.settings)]
    for reranker, one in zip(rerankers[1:], measured[1:], strict=True):
        lost = one.ndcg - measured[0].ndcg
        low, high = bootstrap_interval(lost, seed)
        p_value = float(sign_flip_p_values(lost[:, None], seed)[0])
        cost = {"mean": float(lost.mean()), "low": low, "high": high, "p_value": p_value}
        rows.append({**one.row(reranker.settings), "cost": cost})
    return {"n_queries": len(asked), "rows": rows}


class _Lists:
    """The lists of one variant, measured."""

    def __init__(self, traits_of: Reranker, queries: Queries, lists: np.ndarray, k: int) -> None:
        self._lists, self._traits, self._vectors = lists, traits_of.traits, traits_of.vectors
        ids = self._vectors.ids
        self._histories = [ids.known_indices(user.items) for user in queries.users]
        hits = np.zeros(lists.shape, dtype=bool)
        for row, wanted in enumerate(queries.targets):
            hits[row] = np.isin(lists[row], ids.known_indices(wanted))
        self.ndcg: np.ndarray = PER_QUERY["ndcg"](hits, queries.n_targets)

    def row(self, settings: RerankSettings) -> dict[str, Any]:
        """Means over the users."""
        lists, traits = self._lists, self._traits
        kept = ("kind", "strength", "similarity", "item_floor", "provider_floor")
        return {
            **settings.model_dump(include=set(kept)),
            "ndcg": float(self.ndcg.mean()),
            "diversity": float(diversity(lists, self._vectors.text.numpy()).mean()),
            "coverage": coverage(lists, len(self._vectors.ids)),
            "divergence": float(np.mean([self._divergence(row) for row in range(len(lists))])),
            "rare_items": self._share(traits.rare_items),
            "rare_providers": self._share(traits.rare_providers),
        }

    def _divergence(self, row: int) -> float:
        """KL of the list's categories from those of the user's history."""
        items = self._lists[row][self._lists[row] != PADDING]
        categories = self._traits.categories[items - 1]
        taste = self._traits.taste(self._histories[row])
        counts = np.bincount(categories[categories >= 0], minlength=len(taste))
        return divergence(taste, counts, len(items))

    def _share(self, marked: np.ndarray) -> float:
        """Share of all places that go to marked items."""
        items = self._lists[self._lists != PADDING]
        return float(marked[items - 1].mean()) if len(items) else 0.0


def _allowed(own: Reranker, settings: RerankSettings) -> list[Reranker]:
    """The variants that the catalogue allows."""
    if not settings.changes_nothing:
        return [own.with_settings(settings)]
    found = []
    for variant in variants_of(settings):
        try:
            found.append(own.with_settings(variant))
        except RerankError:
            continue
    return found


def _lists(ranker: Scores, rerankers: Sequence[Reranker], queries: Queries, k: int) -> list[np.ndarray]:
    """The lists of each variant out of the same scores: item indices, 0 where short. Shapes (n_queries, k)."""
    lists = [np.full((len(queries), k), PADDING, dtype=np.int64) for _ in rerankers]
    size = users_per_pass(len(ranker.ids))
    for start in range(0, len(queries), size):
        users = queries.users[start : start + size]
        scores = ranker.scores(users)
        pools = best_indices(scores, max(rerankers[0].settings.pool, k))
        for row, user in enumerate(users):
            pool = pools[row][pools[row] != PADDING] - 1
            for reranker, found in zip(rerankers, lists, strict=True):
                more = [item for floor in reranker.floors(k) for item in _best_marked(scores[row], pool, floor)]
                chosen = reranker.choose(pool.tolist(), scores[row, pool], user, k, more)
                found[start + row, : len(chosen)] = np.array(chosen, dtype=np.int64) + 1
    return lists


def _best_marked(scores: np.ndarray, pool: np.ndarray, floor: Floor) -> list[int]:
    """The best under-exposed items, where the pool has too few of them; none otherwise."""
    if floor.holds(pool.tolist()):
        return []
    best = best_indices(np.where(floor.marked, scores, -np.inf)[None], floor.least)[0]
    return [int(index) - 1 for index in best if index != PADDING]
