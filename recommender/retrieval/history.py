"""Rankers that read the known items of a history and nothing else; popularity answers where they have nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recommender.fitting.finiteness import finite_scores
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.metrics.top_k import mask_seen


class HistoryRanker:
    """A model that reads known items and nothing else; popularity answers users that it has nothing for.

    Args:
        score: From histories of item indices, oldest first, none empty, to scores, shape (B, n_items); a row of equal
            scores has nothing to say.
        name: What it is called where its scores are refused.
    """

    def __init__(
        self, vectors: ItemVectors, score: Callable[[list[list[int]]], np.ndarray], name: str = "a baseline"
    ) -> None:
        self.ids: IdMap = vectors.ids
        self._counts = vectors.catalogue.n_events
        self._score, self._name = score, name

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """The model's scores; seen items are -inf. Shape (B, n_items), float32.

        Raises:
            NotFinite: a score of the model is NaN or infinite.
        """
        scores = np.tile(self._counts, (len(users), 1))
        histories = [self.ids.known_indices(user.items) for user in users]
        warm = np.array([row for row, history in enumerate(histories) if history], dtype=np.int64)
        if len(warm):
            found = self._score([histories[row] for row in warm])
            speaks = self._speaks(found)
            scores[warm[speaks]] = found[speaks]
        return mask_seen(scores, users, self.ids) if exclude_seen else scores

    def speaks(self, user: UserState) -> bool:
        """Whether the model has something for this user; else popularity answers."""
        history = self.ids.known_indices(user.items)
        return bool(history) and bool(self._speaks(self._score([history]))[0])

    def _speaks(self, scores: np.ndarray) -> np.ndarray:
        """Of each row of scores, whether it orders any items. Shape (B,), bool."""
        finite_scores(self._name, scores)
        speaks: np.ndarray = scores.max(axis=1) > scores.min(axis=1)
        return speaks
