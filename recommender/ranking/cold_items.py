"""Cold items, which have no training event: how much their text counts, and by how much all of them are lifted.

Both are chosen on validation, where a share of the learned items is held out as cold: their id vectors, their counts
and their neighbours are taken away. A text weight qualifies if it ranks the held-out items among themselves about as
well as the best one does; a lift, if it costs the whole catalogue's ranking nothing beyond noise. Of these, the pair is
taken that ranks the held-out items best, among all items, for the users who want them.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries, sample_queries
from recommender.metrics.ranking import PER_QUERY
from recommender.metrics.top_k import hits_of
from recommender.ranking.blend import ColdItems
from recommender.ranking.candidate_features import Describer
from recommender.ranking.correction import correct
from recommender.ranking.parts import Asked
from recommender.ranking.ranker import Ranker

HELD_OUT_SHARE = 0.1
# Fewer users who want a held-out item are too few to choose by.
MIN_COLD_QUERIES = 20
MAX_QUERIES = 2000
TEXT_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
# Weights that are tried for anybody between two looks at whether one of them will do.
WAYS_PER_PASS = 16
LIFTS = (0.5, 0.25, 0.0, -0.25, -0.5, -0.75, -1.0, -1.5, -2.0, -3.0, -4.0, -5.0, -6.0, -8.0, -10.0)
NOTHING = ColdItems()


def choose_cold(ranker: Ranker, queries: Queries, k: int, seed: int) -> tuple[ColdItems, dict[str, float]]:
    """Choose the weights while a tenth of the learned items is held out as cold.

    Args:
        ranker: The blend as it was chosen, with its correction.
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
    without = hold_out(ranker, held_out)
    anybody = sample_queries(queries, MAX_QUERIES, generator)
    wanting = sample_queries(queries.take(np.flatnonzero(wants)), MAX_QUERIES, generator)
    alone = [ColdItems(weight) for weight in TEXT_WEIGHTS]
    among = dict(zip(TEXT_WEIGHTS, _ndcgs(without, wanting, k, alone, names), strict=True))
    best_among = max(among.values(), key=lambda values: values.mean())
    good = [weight for weight in TEXT_WEIGHTS if not _is_worse(among[weight], best_among, 1.0)]
    chosen, [before] = NOTHING, _ndcgs(without, anybody, k, [NOTHING])
    whole = before
    for weights, after in _from_the_best(without, wanting, anybody, k, good):
        if not _is_worse(after, before, 2.0):
            chosen, whole = weights, after
            break
    figures = {
        "whole_ndcg_without_text": before.mean(),
        "whole_ndcg_with_text": whole.mean(),
        "cold_ndcg_without_text": among[0.0].mean(),
        "cold_ndcg_with_text": among[chosen.text_weight].mean(),
    }
    return chosen, {name: float(value) for name, value in figures.items()}


def _from_the_best(
    ranker: Ranker, wanting: Queries, anybody: Queries, k: int, text_weights: Sequence[float]
) -> Iterator[tuple[ColdItems, np.ndarray]]:
    """Weights that rank better than none for those who want a cold item, the best first, and the NDCG for anybody.

    Args:
        text_weights: Each is tried with every lift.
    """
    tried = [NOTHING, *(ColdItems(weight, lift) for weight, lift in product(text_weights, LIFTS))]
    none, *found = (float(values.mean()) for values in _ndcgs(ranker, wanting, k, tried))
    ranked = sorted(zip(tried[1:], found, strict=True), key=lambda one: -one[1])  # stable: of equals the first
    better = [weights for weights, value in ranked if value > none]
    for start in range(0, len(better), WAYS_PER_PASS):
        some = better[start : start + WAYS_PER_PASS]
        yield from zip(some, _ndcgs(ranker, anybody, k, some), strict=True)


def _ndcgs(
    ranker: Ranker, queries: Queries, k: int, ways: Sequence[ColdItems], among: Collection[str] | None = None
) -> list[np.ndarray]:
    """NDCG of each query, for each of some weights: as `_Asked.ndcg` says. Shapes (B,).

    All weights are tried on some queries before others are asked: memory does not grow with queries times catalogue.
    """
    found: list[list[np.ndarray]] = [[] for _ in ways]
    for some in queries.passes(len(ranker.ids)):
        asked = _Asked.of(ranker, some, k)
        for values, weights in zip(found, ways, strict=True):
            values.append(asked.ndcg(weights, among))
        del asked  # before others are asked
    return [np.concatenate(values) for values in found]


@dataclass(frozen=True)
class _Asked:
    """Queries of one pass, and how a ranker whose cold items have no weights yet scores the items for them.

    Attributes:
        scores: Without any text and correction. Shape (B, n_items), float32.
        cosines: Between the text of each cold item and the history's. Shape (B, n_cold), float32.
        cold: Whether each item is cold. Shape (n_items,), bool.
        corrections: Of each query as `Ranker.corrections` returns them; none without a correction.
        seen: Places that do not come back, of each query.
        targets: Item indices of each query.
        ids: Of the catalogue.
        k: Length of the list.
    """

    scores: np.ndarray
    cosines: np.ndarray
    cold: np.ndarray
    corrections: list[tuple[np.ndarray, np.ndarray]]
    seen: list[np.ndarray]
    targets: list[list[int]]
    ids: IdMap
    k: int

    @classmethod
    def of(cls, ranker: Ranker, queries: Queries, k: int) -> _Asked:
        """Ask a ranker that ranks no cold items yet."""
        asked = Asked.of(queries.users, ranker.ids)
        first, *more = ranker.shares(asked).values()
        scores = np.asarray(sum(more, first), dtype=np.float32)
        cosines, corrections = ranker.cold_cosines(asked), ranker.corrections(queries.users)
        cold = ~ranker.model.learned[1:].cpu().numpy()
        targets = [ranker.ids.known_indices(one) for one in queries.targets]
        seen = [user.seen_places(ranker.ids) for user in queries.users]
        return cls(scores, cosines, cold, corrections, seen, targets, ranker.ids, k)

    def ndcg(self, weights: ColdItems, among: Collection[str] | None = None) -> np.ndarray:
        """NDCG of each query with these weights, over the whole catalogue or among some cold items. Shape (B,)."""
        targets, others = self.targets, np.zeros(len(self.ids), dtype=bool)
        if among is not None:
            inside = set(self.ids.known_indices(among))
            others = ~np.isin(np.arange(1, len(self.ids) + 1), list(inside))
            targets = [[index for index in wanted if index in inside] for wanted in targets]
        scores = self._ranked(weights)
        scores[:, others] = -np.inf
        n_targets = np.array([max(len(wanted), 1) for wanted in targets])
        found: np.ndarray = PER_QUERY["ndcg"](hits_of(scores, targets, self.k), n_targets)
        return found

    def _ranked(self, weights: ColdItems) -> np.ndarray:
        """The scores as `Ranker.scores` has them with these weights. Shape (B, n_items), float32."""
        scores = self.scores.copy()
        scores[:, self.cold] += weights.part(self.cosines)
        stay = self.cold & (not weights.changes_nothing)
        for own, (candidates, added) in zip(scores, self.corrections, strict=bool(self.corrections)):
            correct(own, candidates, added, stay)
        for own, seen in zip(scores, self.seen, strict=True):
            own[seen] = -np.inf
        return scores


def _is_worse(values: np.ndarray, than: np.ndarray, standard_errors: float) -> bool:
    """Whether the mean is lower by more than so many standard errors of the paired difference. Shapes (B,)."""
    lost = than - values
    return bool(lost.mean() > standard_errors * lost.std() / np.sqrt(len(lost)))


def hold_out(ranker: Ranker, items: np.ndarray) -> Ranker:
    """The ranker, to which some items are cold.

    Args:
        items: Their indices, from 1.
    """
    model = copy.deepcopy(ranker.model)
    model.learned[torch.from_numpy(items)] = False
    unknown = ranker.held_out.copy()
    unknown[items - 1] = True
    without = Ranker(ranker.vectors, model, ranker.retrievers, ranker.blend, held_out=unknown)
    without.describer = Describer(ranker.vectors, without.unlearned, without.part_names, unknown)
    return without.corrected(ranker.correction)
