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

    Recently is before the user is asked about, where a user knows the items of then; else before the training cut-off.

    Args:
        recent: Events in the window before the cut-off, in the order of the ids. Shape (n_items,).
        window: Which of the windows that the feature store counts it is, 0 for the shortest.
    """

    def __init__(self, vectors: ItemVectors, recent: np.ndarray, window: int) -> None:
        self.ids: IdMap = vectors.ids
        counts = vectors.catalogue.n_events
        self._recent, self._window, self._ties = recent, window, counts / (counts.max(initial=0) + 1)

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Counts of recent events, plus less than one; seen items are -inf. Shape (B, n_items), float32."""
        scores = np.empty((len(users), len(self.ids)), dtype=np.float32)
        rows: dict[int, np.ndarray] = {}  # users of one moment share theirs
        for row, user in enumerate(users):
            moment = id(user.items_then)
            if moment not in rows:
                rows[moment] = (self._counts(user) + self._ties).astype(np.float32)
            scores[row] = rows[moment]
        return mask_seen(scores, users, self.ids) if exclude_seen else scores

    def _counts(self, user: UserState) -> np.ndarray:
        if user.items_then is None:
            return self._recent
        counted: np.ndarray = user.items_then.of(self.ids).popularity[:, self._window]
        return counted
