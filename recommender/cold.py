"""Items that no event taught: their text stands beside what the sequence model makes of it, and lifts or lowers them.

How much is chosen on validation, where a share of the learned items plays cold: their id vectors, their counts and
their neighbours are taken away. Every user is asked once, over the whole catalogue, so that what is new does not drive
out what is liked; and who wants an item that plays cold is asked once more, among those alone, so that the right ones
of the new items come first. Weights by which they come up less often than without any are not taken.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from recommender.blend import ColdItems
from recommender.judging.metrics import PER_QUERY
from recommender.queries import Queries
from recommender.ranker import Ranker, hits_of, mask_seen

PRETENDING_SHARE = 0.1
# Fewer users who want an item that plays cold are too few to choose by.
MIN_COLD_QUERIES = 20
MAX_QUERIES = 1000
TEXT_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0)
LIFTS = (0.0, -0.25, -0.5, -0.75, -1.0, -2.0, 0.25, 0.5)


def choose_cold(ranker: Ranker, queries: Queries, k: int, seed: int) -> tuple[ColdItems, dict[str, float]]:
    """The weights with the best mean NDCG over both kinds of questions, while a tenth of the learned items plays cold.

    Args:
        ranker: The blend as it was chosen.
        queries: Of the validation window, each with a known history.
        k: Length of the list.
        seed: Which items play cold.
    Returns:
        The weights (all 0 where too few queries want such an item), and the NDCG without and with them: over the whole
        catalogue, and among such items alone; no figures where nothing was chosen.
    """
    generator = np.random.default_rng([seed, 2])
    learned = np.flatnonzero(ranker.model.learned.numpy())
    playing = np.sort(generator.choice(learned, round(len(learned) * PRETENDING_SHARE), replace=False))
    if len(queries) > MAX_QUERIES:
        queries = queries.take(np.sort(generator.choice(len(queries), MAX_QUERIES, replace=False)))
    targets = [ranker.ids.known_indices(wanted) for wanted in queries.targets]
    cold_targets = [[target for target in wanted if target in set(playing)] for wanted in targets]
    asks = np.array([bool(wanted) for wanted in cold_targets])
    if asks.sum() < MIN_COLD_QUERIES:
        return ColdItems(), {}
    others, cosines, cold = _pretend(ranker, queries, playing)
    alone = np.where(cold, others[asks], np.float32(-np.inf))
    wanted_alone = [wanted for wanted in cold_targets if wanted]
    n_wanted_alone = np.array([len(wanted) for wanted in wanted_alone])

    def judge(weights: ColdItems) -> tuple[np.ndarray, np.ndarray]:
        added = weights.text_weight * cosines + weights.lift
        everything, among = others.copy(), alone.copy()
        everything[:, cold] += added
        among[:, cold] += added[asks]
        return (
            PER_QUERY["ndcg"](hits_of(everything, targets, k), queries.n_targets),
            PER_QUERY["ndcg"](hits_of(among, wanted_alone, k), n_wanted_alone),
        )

    tried = [ColdItems(weight, lift) for weight in TEXT_WEIGHTS for lift in LIFTS]
    judged = [judge(weights) for weights in tried]
    shown = [whole[asks].mean() for whole, _ in judged]
    means = [np.concatenate(both).mean() for both in judged]
    best = max((place for place in range(len(tried)) if shown[place] >= shown[0]), key=lambda place: means[place])
    figures = {
        "whole_ndcg_without_text": judged[0][0].mean(),
        "whole_ndcg_with_text": judged[best][0].mean(),
        "cold_ndcg_without_text": judged[0][1].mean(),
        "cold_ndcg_with_text": judged[best][1].mean(),
    }
    return tried[best], {name: float(value) for name, value in figures.items()}


def _pretend(ranker: Ranker, queries: Queries, playing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ranker's scores without any text weight while some items play cold, and what the text says of all cold ones.

    Returns:
        Scores, shape (B, n_items), -inf for seen items; cosines, shape (B, n_cold); who is cold, shape (n_items,).
    """
    model = copy.deepcopy(ranker.model)
    model.learned[torch.from_numpy(playing)] = False
    pretending = Ranker(ranker.vectors, model, ranker.neighbours, ranker.blend, ColdItems(text_weight=1.0))
    parts = pretending.parts(queries.users)
    cold = ~model.learned[1:].numpy()
    cosines = parts.pop("text")[:, cold]
    first, *more = parts.values()
    return mask_seen(sum(more, first), queries.users, ranker.ids), cosines, cold
