"""Recommends by writing semantic ids: the generative model behind the interface of the other rankers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from core.stages import stage
from recommender.fitting.device import device_of
from recommender.fitting.finiteness import finite_scores
from recommender.inputs.ids import PADDING, IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters, leave_out
from recommender.retrieval.generative.model import GenerativeModel, load_generative_model, right_padded
from recommender.retrieval.generative.search import search

# Prefixes of a beam are 256 times as many candidates: so many users at once take some hundred megabytes.
USERS_PER_SEARCH = 64


class GenerativeRanker:
    """The generative model and the catalogue, ready to answer; a user without a history is answered too.

    Args:
        vectors: Those that the model was trained with.
        model: The generative model.
        width: Of the beam; None takes the model's. A list of k needs at least k.
    """

    def __init__(self, vectors: ItemVectors, model: GenerativeModel, width: int | None = None) -> None:
        self.vectors, self.model = vectors, model.eval()
        self.width = model.shape.beam_width if width is None else width

    @classmethod
    def load(cls, folder: Path, vectors: ItemVectors, device: str = "cpu") -> GenerativeRanker:
        """Read the `generative` component.

        Raises:
            BundleError: it cannot be read, or was not trained with these vectors.
        """
        return cls(vectors, load_generative_model(folder, vectors, device))

    def at_least(self, k: int) -> GenerativeRanker:
        """The same ranker, with a beam wide enough for lists of k."""
        return GenerativeRanker(self.vectors, self.model, max(self.width, k))

    @property
    def ids(self) -> IdMap:
        return self.vectors.ids

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Log probabilities of the items in the beam, -inf for all others and for seen ones.

        Returns:
            Shape (B, n_items), float32, in the order of `ids`.
        """
        items, found = self._search(users, self.width, self._allowed(users))
        scores = np.full((len(users), len(self.ids) + 1), -np.inf, dtype=np.float32)
        np.put_along_axis(scores, items, found, axis=1)
        return scores[:, 1:]

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """The most probable items of each user that are found, best first; every filter is held inside the beam.

        Args:
            k: Length of the lists; shorter only where fewer items are allowed.
        Returns:
            Per user, (item id, log probability) pairs.
        """
        with stage("retrieve"):
            items, scores = self._search(users, max(self.width, k), self._allowed(users, **filters))
        return [
            [
                (self.ids.item_id(int(item)), float(score))
                for item, score in zip(items[row, :k], scores[row, :k], strict=True)
                if item != PADDING
            ]
            for row in range(len(users))
        ]

    def _search(self, users: Sequence[UserState], width: int, allowed: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        histories, device = [self.ids.known_indices(user.items) for user in users], device_of(self.model)
        items = np.full((len(users), width), PADDING, dtype=np.int64)
        scores = np.full((len(users), width), -np.inf, dtype=np.float32)
        for start in range(0, len(users), USERS_PER_SEARCH):
            rows = slice(start, start + USERS_PER_SEARCH)
            history = right_padded(histories[rows], self.model.shape.max_history)
            found, log_probabilities = search(self.model, history.to(device), width, allowed[rows].to(device))
            items[rows] = found.cpu().numpy()
            scores[rows] = finite_scores("generative model", log_probabilities.cpu().numpy(), masked=True)
        return items, scores

    def _allowed(self, users: Sequence[UserState], **filters: Unpack[ListFilters]) -> torch.Tensor:
        """Shape (B, n_items), bool."""
        rows = np.ones((len(users), len(self.ids)), dtype=bool)
        return torch.from_numpy(leave_out(rows, False, users, self.ids, **filters))
