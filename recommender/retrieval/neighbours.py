"""The neighbourhood model: which items go with which, learned in closed form from who had what. The `neighbours` part.

It knows no order but recency and no texts, and so errs elsewhere than the sequence model does: the two blend well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from core.settings.models import NeighbourSettings
from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.ids import PADDING

WEIGHTS_FILE = "neighbours.safetensors"
CONFIG_FILE = "neighbours.json"
_ROWS_PER_PASS = 1024


class NeighbourModel:
    """Item-to-item weights, of each item those of its strongest neighbours only.

    Args:
        items: Index of each neighbour, 0 where there are fewer. Shape (n_items + 1, K), int32, padding row first.
        weights: Its weight, 0 where there is none. Shape (n_items + 1, K), float32.
        recency: The newest entry of a history counts 1, each earlier one `recency` times the next.
    """

    def __init__(self, items: np.ndarray, weights: np.ndarray, recency: float) -> None:
        self.items, self.weights, self.recency = items, weights, recency

    @property
    def n_items(self) -> int:
        return len(self.items) - 1

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray], n_items: int, settings: NeighbourSettings) -> NeighbourModel:
        """Learn from histories.

        Args:
            sequences: Item indices of each user, in any order, each item once. Each shape (T,), integers.
            n_items: Of the catalogue. Only the `max_items` most frequent ones are learned: the solution is dense.
        Source: Steck 2019 (EASE), eq. 8: B = I - P · diag(1 / P), P = (XᵀX + λI)⁻¹; rows are cut to their K largest.
        """
        counts = np.bincount(np.concatenate([*sequences, np.zeros(0, dtype=np.int64)]), minlength=n_items + 1)
        counts[PADDING] = 0
        learned = np.sort(np.argsort(-counts, kind="stable")[: settings.max_items])
        learned = learned[counts[learned] > 0]
        place = np.full(n_items + 1, -1, dtype=np.int64)
        place[learned] = np.arange(len(learned))
        weights = _weights(_gram(sequences, place, settings.regularisation))
        width = min(settings.n_neighbours, len(learned))
        items = np.zeros((n_items + 1, width), dtype=np.int32)
        kept = np.zeros((n_items + 1, width), dtype=np.float32)
        for rows in torch.arange(len(learned)).split(_ROWS_PER_PASS):
            strongest = weights[rows].abs().topk(width, dim=1).indices
            items[learned[rows]] = learned[strongest.numpy()]
            kept[learned[rows]] = weights[rows].gather(1, strongest).numpy()
        return cls(items, kept, settings.recency)

    def scores(self, histories: Sequence[Sequence[int]]) -> np.ndarray:
        """Score every item for each history.

        Args:
            histories: Item indices, oldest first.
        Returns:
            Shape (B, n_items), float32; all zeros for a history without learned items.
        """
        rows = np.zeros((len(histories), self.n_items + 1), dtype=np.float32)
        for place, history in enumerate(histories):
            if history:
                newest_last = np.asarray(history)
                ages = np.arange(len(history) - 1, -1, -1, dtype=np.float32)
                weights = self.weights[newest_last] * (self.recency**ages)[:, None]  # (T, K)
                rows[place] = np.bincount(self.items[newest_last].ravel(), weights.ravel(), minlength=self.n_items + 1)
        return rows[:, 1:]

    def save(self, folder: Path) -> None:
        """Write weights and settings into a folder that exists."""
        save_tensors(folder / WEIGHTS_FILE, {"items": self.items, "weights": self.weights})
        write_json(folder / CONFIG_FILE, {"recency": self.recency})

    @classmethod
    def load(cls, folder: Path) -> NeighbourModel:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable.
        """
        config = read_config(folder / CONFIG_FILE)
        expected = f"{WEIGHTS_FILE} and {CONFIG_FILE}"
        with loading("neighbours", got=f"folder={folder}", expected=expected, do="Fit them again"):
            tensors = read_tensors(folder / WEIGHTS_FILE, "items", "weights")
            return cls(tensors["items"].numpy(), tensors["weights"].numpy(), float(config["recency"]))


def _weights(gram: torch.Tensor) -> torch.Tensor:
    """EASE's solution; row: in the history, column: recommended. Shape (n, n), float32. `gram` is used up.

    The matrices are large, so that no more of them than need be lie in memory at once.
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram, out=gram), out=gram)
    return inverse.div_(inverse.diagonal().neg()).fill_diagonal_(0.0)


def _gram(sequences: Sequence[np.ndarray], place: np.ndarray, regularisation: float) -> torch.Tensor:
    """How many histories hold both items, plus the regularisation on the diagonal. Shape (n, n), float32."""
    n = int(place.max()) + 1
    gram = torch.zeros(n * n)
    for sequence in sequences:
        known = torch.from_numpy(place[np.unique(sequence)])
        known = known[known >= 0]
        gram[(known[:, None] * n + known[None, :]).flatten()] += 1.0
    gram = gram.view(n, n)
    gram.diagonal().add_(regularisation)
    return gram
