"""What a blend has to beat: popularity, the pretrained text encoder that never saw the shop, each of its parts, and the
field's own baselines, which `baseline_fitting` fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recommender.ids import IdMap
from recommender.item_vectors import ItemVectors
from recommender.neighbours import NeighbourModel
from recommender.ranker import mask_seen
from recommender.user import UserState


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
    """Every user gets the items with the most events of late; equal counts by all events.

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


class HistoryRanker:
    """A model that reads known items and nothing else; whom it has nothing for is answered by popularity.

    Args:
        score: From histories of item indices, oldest first, none empty, to scores, shape (B, n_items); a row of equal
            scores has nothing to say.
    """

    def __init__(self, vectors: ItemVectors, score: Callable[[list[list[int]]], np.ndarray]) -> None:
        self.ids: IdMap = vectors.ids
        self._counts = vectors.catalogue.n_events
        self._score = score

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """The model's scores; seen items are -inf. Shape (B, n_items), float32."""
        scores = np.tile(self._counts, (len(users), 1))
        histories = [self.ids.known_indices(user.items) for user in users]
        warm = np.array([row for row, history in enumerate(histories) if history], dtype=np.int64)
        if len(warm):
            told = self._score([histories[row] for row in warm])
            speaks = _speaks(told)
            scores[warm[speaks]] = told[speaks]
        return mask_seen(scores, users, self.ids) if exclude_seen else scores

    def speaks(self, user: UserState) -> bool:
        """Whether the model has something for this user; else popularity answers."""
        history = self.ids.known_indices(user.items)
        return bool(history) and bool(_speaks(self._score([history]))[0])


class TextRanker:
    """The language model before fine-tuning: cosine of an item's text vector to the mean of the history's.

    The newest item weighs 1, each earlier one `RECENCY` times the next. Cold users are answered by popularity, as they
    are by the trained ranker, so that the two differ only where they can.
    """

    def __init__(self, vectors: ItemVectors) -> None:
        self.ids: IdMap = vectors.ids
        self._vectors, self._text = vectors, vectors.text.numpy()
        self._counts = vectors.catalogue.n_events

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Cosines; seen items are -inf. Shape (B, n_items), float32."""
        scores = np.tile(self._counts, (len(users), 1))
        histories = [self.ids.known_indices(user.items) for user in users]
        warm = [row for row, history in enumerate(histories) if history]
        if warm:
            profiles = np.stack([self._vectors.profile(histories[row]) for row in warm])
            scores[warm] = profiles @ self._text[1:].T
        return mask_seen(scores, users, self.ids) if exclude_seen else scores


class NeighbourRanker:
    """The neighbourhood model alone; users without a learned item are answered by popularity."""

    def __init__(self, vectors: ItemVectors, neighbours: NeighbourModel) -> None:
        self.ids: IdMap = vectors.ids
        self._neighbours = neighbours
        self._counts = vectors.catalogue.n_events

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Sums of weights; seen items are -inf. Shape (B, n_items), float32."""
        scores = self._neighbours.scores([self.ids.known_indices(user.items) for user in users])
        scores[~scores.any(axis=1)] = self._counts
        return mask_seen(scores, users, self.ids)


def _speaks(told: np.ndarray) -> np.ndarray:
    """Of each row of scores, whether it tells items apart. Shape (B,), bool."""
    speaks: np.ndarray = told.max(axis=1) > told.min(axis=1)
    return speaks
