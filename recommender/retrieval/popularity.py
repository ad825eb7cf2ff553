"""Rankers that give every user the same list: the most popular items, of all time or recently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.metrics.top_k import mask_seen


class PopularityRanker:
    """Every user gets the items with the most training events."""

    def __init__(self, vectors: ItemVectors) -> None:
        self.ids: IdMap = vectors.ids
        self._counts = vectors.catalogue.n_events

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Counts of events; seen items are -inf. Shape (B, n_items), float32."""
        scores = np.tile(self._counts, (len(users), 1))
        return mask_seen(scores, users, self.ids) if exclude_seen else scores


class RecentPopularityRanker:
    """Every user gets the items with the most events recently; equal counts by all events.

    Args:
        recent: Events in the recent window, in the order of the ids. Shape (n_items,).
    """

    def __init__(self, vectors: ItemVectors, recent: np.ndarray) -> None:
        self.ids: IdMap = vectors.ids
        counts = vectors.catalogue.n_events
        self._counts = (recent + counts / (counts.max(initial=0) + 1)).astype(np.float32)

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Counts of recent events, plus less than one; seen items are -inf. Shape (B, n_items), float32."""
        scores = np.tile(self._counts, (len(users), 1))
        return mask_seen(scores, users, self.ids) if exclude_seen else scores
