"""Items that no event taught: their text stands beside what the sequence model makes of it, and lifts them.

How much is chosen on validation, where a share of the learned items plays cold: their id vectors, their counts and
their neighbours are taken away, and the lists are judged for all users, whether they want such an item or not.
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
TEXT_WEIGHTS = (0.0, 2.0, 5.0, 10.0, 20.0)
LIFTS = (0.0, 0.25, 0.5, 1.0, 1.5)


def choose_cold(ranker: Ranker, queries: Queries, k: int, seed: int) -> tuple[ColdItems, dict[str, float]]:
    """The weights with the best NDCG over all queries while a tenth of the learned items plays cold.

    Args:
        ranker: The blend as it was chosen.
        queries: Of the validation window, each with a known history.
        k: Length of the list.
        seed: Which items play cold.
    Returns:
        The weights (all 0 where too few queries want such an item), and the NDCG before and after, over all queries and
        over those that want an item that plays cold; no figures where nothing was chosen.
    """
    generator = np.random.default_rng([seed, 2])
    learned = np.flatnonzero(ranker.model.learned.numpy())
    playing = np.sort(generator.choice(learned, round(len(learned) * PRETENDING_SHARE), replace=False))
    if len(queries) > MAX_QUERIES:
        queries = queries.take(np.sort(generator.choice(len(queries), MAX_QUERIES, replace=False)))
    targets = [ranker.ids.known_indices(wanted) for wanted in queries.targets]
    wants_cold = np.array([bool(np.isin(wanted, playing).any()) for wanted in targets])
    if wants_cold.sum() < MIN_COLD_QUERIES:
        return ColdItems(), {}
    model = copy.deepcopy(ranker.model)
    model.learned[torch.from_numpy(playing)] = False
    pretending = Ranker(ranker.vectors, model, ranker.neighbours, ranker.blend, ColdItems(text_weight=1.0))
    parts = pretending.parts(queries.users)
    cold = ~model.learned[1:].numpy()
    cosines = parts.pop("text")[:, cold]
    first, *more = parts.values()
    others = mask_seen(sum(more, first), queries.users, ranker.ids)

    def judge(weights: ColdItems) -> np.ndarray:
        scores = others.copy()
        scores[:, cold] += weights.text_weight * cosines + weights.lift
        return PER_QUERY["ndcg"](hits_of(scores, targets, k), queries.n_targets)

    tried = [ColdItems(weight, lift) for weight in TEXT_WEIGHTS for lift in LIFTS]
    judged = [judge(weights) for weights in tried]
    best = int(np.argmax([values.mean() for values in judged]))
    figures = {
        "ndcg_before": judged[0].mean(),
        "ndcg_after": judged[best].mean(),
        "cold_ndcg_before": judged[0][wants_cold].mean(),
        "cold_ndcg_after": judged[best][wants_cold].mean(),
    }
    return tried[best], {name: float(value) for name, value in figures.items()}
