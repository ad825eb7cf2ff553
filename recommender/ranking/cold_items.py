"""Cold items, which have no training event: how much their text counts, and by how much all of them are lifted.

Both are chosen on validation, where a share of the learned items is held out as cold: their id vectors, their counts
and their neighbours are taken away. A text weight qualifies if it ranks the held-out items among themselves about as
well as the best one does; a lift, if it costs the whole catalogue's ranking nothing beyond noise. Of these, the pair is
taken that ranks the held-out items best, among all items, for the users who want them.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries, sample_queries
from recommender.metrics.ranking import PER_QUERY
from recommender.metrics.ranking_evaluation import QUERIES_PER_PASS
from recommender.metrics.top_k import hits_of, mask_seen
from recommender.ranking.blend import ColdItems
from recommender.ranking.parts import Asked
from recommender.ranking.ranker import Ranker

HELD_OUT_SHARE = 0.1
# Fewer users who want a held-out item are too few to choose by.
MIN_COLD_QUERIES = 20
MAX_QUERIES = 2000
TEXT_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
LIFTS = (0.5, 0.25, 0.0, -0.25, -0.5, -0.75, -1.0, -1.5, -2.0, -3.0, -4.0, -5.0, -6.0, -8.0, -10.0)
NOTHING = ColdItems()


def choose_cold(ranker: Ranker, queries: Queries, k: int, seed: int) -> tuple[ColdItems, dict[str, float]]:
    """Choose the weights while a tenth of the learned items is held out as cold.

    Args:
        ranker: The blend as it was chosen.
        queries: Of the validation window, each with a known history.
        k: Length of the list.
        seed: Which items are held out.
    Returns:
        The weights (all 0 where too few queries want such an item), and the NDCG without and with them: over the whole
        catalogue, and among such items alone; no figures where nothing was chosen.
    """
    generator = np.random.default_rng([seed, 2])
    learned = np.flatnonzero(ranker.model.learned.cpu().numpy())
    held_out = np.sort(generator.choice(learned, round(len(learned) * HELD_OUT_SHARE), replace=False))
    names = {ranker.ids.item_id(int(index)) for index in held_out}
    wants = np.array([not names.isdisjoint(wanted) for wanted in queries.targets], dtype=bool)
    if wants.sum() < MIN_COLD_QUERIES:
        return NOTHING, {}
    without = _without(ranker, held_out)
    anybody = _Asked.of(without, sample_queries(queries, MAX_QUERIES, generator), k)
    wanting = _Asked.of(without, sample_queries(queries.take(np.flatnonzero(wants)), MAX_QUERIES, generator), k)
    among = {weight: wanting.ndcg(ColdItems(weight), names) for weight in TEXT_WEIGHTS}
    best_among = max(among.values(), key=lambda values: values.mean())
    good = [weight for weight in TEXT_WEIGHTS if not _is_worse(among[weight], best_among, 1.0)]
    before = anybody.ndcg(NOTHING)
    chosen, whole, best = NOTHING, before, wanting.ndcg(NOTHING).mean()
    for weights in (ColdItems(weight, lift) for weight, lift in product(good, LIFTS)):
        found = wanting.ndcg(weights).mean()
        if found > best:
            after = anybody.ndcg(weights)
            if not _is_worse(after, before, 2.0):
                chosen, whole, best = weights, after, found
    figures = {
        "whole_ndcg_without_text": before.mean(),
        "whole_ndcg_with_text": whole.mean(),
        "cold_ndcg_without_text": among[0.0].mean(),
        "cold_ndcg_with_text": among[chosen.text_weight].mean(),
    }
    return chosen, {name: float(value) for name, value in figures.items()}


@dataclass(frozen=True)
class _Asked:
    """Some queries, and how a ranker whose cold items have no weights yet scores the items for them.

    Attributes:
        scores: Without any text, -inf for seen items. Shape (B, n_items), float32.
        cosines: Between the text of each cold item and the history's. Shape (B, n_cold), float32.
        cold: Whether each item is cold. Shape (n_items,), bool.
        targets: Item indices of each query.
        ids: Of the catalogue.
        k: Length of the list.
    """

    scores: np.ndarray
    cosines: np.ndarray
    cold: np.ndarray
    targets: list[list[int]]
    ids: IdMap
    k: int

    @classmethod
    def of(cls, ranker: Ranker, queries: Queries, k: int) -> _Asked:
        """Ask a ranker that ranks no cold items yet."""
        cold = ~ranker.model.learned[1:].cpu().numpy()
        scores = np.empty((len(queries), len(ranker.ids)), dtype=np.float32)
        cosines = np.empty((len(queries), int(cold.sum())), dtype=np.float32)
        start = 0
        for some in queries.passes(QUERIES_PER_PASS):
            asked, rows = Asked.of(some.users, ranker.ids), slice(start, start + len(some))
            first, *more = ranker.shares(asked).values()
            scores[rows] = mask_seen(sum(more, first), some.users, ranker.ids)
            cosines[rows] = ranker.cold_cosines(asked)
            start = rows.stop
        targets = [ranker.ids.known_indices(one) for one in queries.targets]
        return cls(scores, cosines, cold, targets, ranker.ids, k)

    def ndcg(self, weights: ColdItems, among: Collection[str] | None = None) -> np.ndarray:
        """NDCG of each query with these weights, over the whole catalogue or among some cold items. Shape (B,)."""
        targets, others = self.targets, np.zeros(len(self.ids), dtype=bool)
        if among is not None:
            inside = set(self.ids.known_indices(among))
            others = ~np.isin(np.arange(1, len(self.ids) + 1), list(inside))
            targets = [[index for index in wanted if index in inside] for wanted in targets]
        hits = []
        for start in range(0, len(self.scores), QUERIES_PER_PASS):
            rows = slice(start, start + QUERIES_PER_PASS)
            scores = self.scores[rows].copy()
            scores[:, self.cold] += weights.part(self.cosines[rows])
            scores[:, others] = -np.inf
            hits.append(hits_of(scores, targets[rows], self.k))
        n_targets = np.array([max(len(wanted), 1) for wanted in targets])
        found: np.ndarray = PER_QUERY["ndcg"](np.concatenate(hits), n_targets)
        return found


def _is_worse(values: np.ndarray, than: np.ndarray, standard_errors: float) -> bool:
    """Whether the mean is lower by more than so many standard errors of the paired difference. Shapes (B,)."""
    lost = than - values
    return bool(lost.mean() > standard_errors * lost.std() / np.sqrt(len(lost)))


def _without(ranker: Ranker, held_out: np.ndarray) -> Ranker:
    """The ranker with some items held out as cold."""
    model = copy.deepcopy(ranker.model)
    model.learned[torch.from_numpy(held_out)] = False
    return Ranker(ranker.vectors, model, ranker.retrievers, ranker.blend)
