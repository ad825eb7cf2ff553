"""Content-based retrieval: the cosine of an item's text to the texts of a history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recommender.fitting.finiteness import finite_scores
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.metrics.top_k import mask_seen


class TextRanker:
    """The language model before fine-tuning: cosine of an item's text vector to the mean of the history's.

    The newest item weighs 1, each earlier one `RECENCY` times the next. Cold users are answered by popularity, as they
    are by the trained ranker, so that the two differ only where they can.
    """

    def __init__(self, vectors: ItemVectors) -> None:
        self.ids: IdMap = vectors.ids
        self._vectors, self._text = vectors, vectors.retrieval.numpy()
        self._counts = vectors.catalogue.n_events

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Cosines; seen items are -inf. Shape (B, n_items), float32.

        Raises:
            NotFinite: a cosine is NaN or infinite.
        """
        scores = np.tile(self._counts, (len(users), 1))
        histories = [self.ids.known_indices(user.items) for user in users]
        warm = [row for row, history in enumerate(histories) if history]
        if warm:
            profiles = np.stack([self._vectors.profile(histories[row]) for row in warm])
            scores[warm] = finite_scores("item texts", profiles @ self._text[1:].T)
        return mask_seen(scores, users, self.ids) if exclude_seen else scores
