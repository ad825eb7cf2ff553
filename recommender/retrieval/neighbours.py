"""Which items go with which, learned from who had what: in closed form (the `neighbours` part), or by the cosines of
the items' columns (the `item_knn` part).

They know no order but recency and no texts, and so err elsewhere than the sequence model does: they blend well with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.settings.models import ItemKnnSettings, NeighbourSettings
from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.ids import PADDING

NEIGHBOURS = "neighbours"
# Of five: a rating that is no praise.
LOW = 2.0
# Numbers of a dense block of item-to-item weights.
_BLOCK = 1 << 24
# Pairs of items of one history that are counted at once.
_PAIRS = 1 << 20


class NeighbourModel:
    """Item-to-item weights, of each item those of its strongest neighbours only.

    Args:
        items: Index of each neighbour, 0 where there are fewer. Shape (n_items + 1, K), int32, padding row first.
        weights: Its weight, 0 where there is none. Shape (n_items + 1, K), float32.
        recency: The newest entry of a history counts 1, each earlier one `recency` times the next.
        low_rating: How much an entry counts that the user rated `LOW` or less.
        event_weights: How much one counts by the kind of event on it; kinds that are not named count in full.
    """

    def __init__(
        self,
        items: np.ndarray,
        weights: np.ndarray,
        recency: float,
        low_rating: float = 1.0,
        event_weights: Mapping[str, float] | None = None,
    ) -> None:
        self.items, self.weights, self.recency, self.low_rating = items, weights, recency, low_rating
        self.event_weights = dict(event_weights or {})

    @property
    def n_items(self) -> int:
        return len(self.items) - 1

    @classmethod
    def fit(
        cls, sequences: Sequence[np.ndarray], n_items: int, settings: NeighbourSettings, device: str = "cpu"
    ) -> NeighbourModel:
        """Learn from histories.

        Args:
            sequences: Item indices of each user, in any order, each item once. Each shape (T,), integers.
            n_items: Of the catalogue. Only the `max_items` most frequent ones are learned: the solution is dense.
            device: Where it is solved.
        Source: Steck 2019 (EASE), eq. 8: B = I - P · diag(1 / P), P = (XᵀX + λI)⁻¹; rows are cut to their K largest.
        """
        learned, place = _most_frequent(sequences, n_items, settings.max_items)
        weights = _weights(_gram(sequences, place, settings.regularisation).to(device))
        return cls._strongest(weights.split, learned, n_items, settings.n_neighbours, settings.recency)

    @classmethod
    def fit_cosines(cls, sequences: Sequence[np.ndarray], n_items: int, settings: ItemKnnSettings) -> NeighbourModel:
        """Learn from histories, as `fit` does: the weight of two items is the cosine of who had them.

        Source: Sarwar et al. 2001, Item-based Collaborative Filtering Recommendation Algorithms.
        """
        from scipy.sparse import csc_array, diags_array

        learned, place = _most_frequent(sequences, n_items, settings.max_items)
        rows = [place[np.unique(sequence)] for sequence in sequences]
        rows = [known[known >= 0] for known in rows]
        users = np.repeat(np.arange(len(rows)), [len(known) for known in rows])
        columns = np.concatenate([*rows, np.zeros(0, dtype=np.int64)])
        had = csc_array((np.ones(len(users), dtype=np.float32), (users, columns)), shape=(len(rows), len(learned)))
        length = np.sqrt(np.maximum(np.asarray(had.sum(axis=0)), 1)).astype(np.float32)
        scaled = had @ diags_array(1 / length)

        def blocks(size: int) -> Iterator[torch.Tensor]:
            for start in range(0, len(learned), size):
                cosines = (scaled[:, start : start + size].T @ scaled).toarray()
                cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = 0.0
                yield torch.from_numpy(cosines.astype(np.float32))

        return cls._strongest(blocks, learned, n_items, settings.n_neighbours, settings.recency)

    @classmethod
    def _strongest(
        cls,
        blocks: Callable[[int], Iterable[torch.Tensor]],
        learned: np.ndarray,
        n_items: int,
        n_neighbours: int,
        recency: float,
    ) -> NeighbourModel:
        """Of the weights of the learned items, given in blocks of rows, those of each row's strongest neighbours."""
        width = min(n_neighbours, len(learned))
        items = np.zeros((n_items + 1, width), dtype=np.int32)
        kept = np.zeros((n_items + 1, width), dtype=np.float32)
        start = 0
        for block in blocks(max(_BLOCK // max(len(learned), 1), 1)):
            strongest = block.abs().topk(width, dim=1).indices
            rows = learned[start : start + len(block)]
            items[rows] = learned[strongest.cpu().numpy()]
            kept[rows] = block.gather(1, strongest).cpu().numpy()
            start += len(block)
        return cls(items, kept, recency)

    def with_recency(self, recency: float) -> NeighbourModel:
        """The same weights, and another recency."""
        return NeighbourModel(self.items, self.weights, recency, self.low_rating, self.event_weights)

    def with_low_rating(self, low_rating: float) -> NeighbourModel:
        """The same weights, where entries that the user rated low count so much."""
        return NeighbourModel(self.items, self.weights, self.recency, low_rating, self.event_weights)

    def with_event_weights(self, event_weights: Mapping[str, float]) -> NeighbourModel:
        """The same weights, where entries count so much by their kind of event."""
        return NeighbourModel(self.items, self.weights, self.recency, self.low_rating, event_weights)

    def scores(
        self,
        histories: Sequence[Sequence[int]],
        ratings: Sequence[Sequence[float | None]] | None = None,
        events: Sequence[Sequence[str]] | None = None,
    ) -> np.ndarray:
        """Score every item for each history.

        Args:
            histories: Item indices, oldest first.
            ratings: What each was rated, None where it was not; none at all by default.
            events: The strongest kind of event on each, none of a history whose kinds are not known: it counts in full.
                None at all by default.
        Returns:
            Shape (B, n_items), float32; all zeros for a history without learned items.
        """
        rows = np.zeros((len(histories), self.n_items + 1), dtype=np.float32)
        for place, history in enumerate(histories):
            if history:
                rated = None if ratings is None else ratings[place]
                kinds = None if events is None else events[place]
                items, weights = self._entries(history, rated, kinds)
                rows[place] = np.bincount(items, weights, minlength=self.n_items + 1)
        return rows[:, 1:]

    def sums(
        self, history: Sequence[int], ratings: Sequence[float | None] | None, events: Sequence[str] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """`scores` of one history, of those items alone whose score may differ from 0.

        Returns:
            Places in the catalogue, from 0, ascending, and their scores. Shapes (N,), int64 and float32.
        """
        if not len(history):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        items, weights = self._entries(history, ratings, events)
        found, of_found = np.unique(items, return_inverse=True)
        sums = np.bincount(of_found, weights).astype(np.float32)
        is_item = found != PADDING
        return found[is_item].astype(np.int64) - 1, sums[is_item]

    def _entries(
        self, history: Sequence[int], ratings: Sequence[float | None] | None, events: Sequence[str] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The neighbours of a history's entries, and how much each adds. Shapes (T * K,)."""
        newest_last = np.asarray(history)
        counted = self.recency ** np.arange(len(history) - 1, -1, -1, dtype=np.float32)
        if ratings is not None and self.low_rating != 1.0:
            low = [rating is not None and rating <= LOW for rating in ratings]
            counted = np.where(low, self.low_rating * counted, counted)
        if events and self.event_weights:
            counted = counted * np.array([self.event_weights.get(kind, 1.0) for kind in events])
        weights = self.weights[newest_last] * counted[:, None]  # (T, K)
        return self.items[newest_last].ravel(), weights.ravel()

    def save(self, folder: Path, name: str = NEIGHBOURS) -> None:
        """Write `<name>.safetensors` and `<name>.json` into a folder that exists."""
        save_tensors(folder / f"{name}.safetensors", {"items": self.items, "weights": self.weights})
        write_json(folder / f"{name}.json", self._counting())

    @classmethod
    def load(cls, folder: Path, name: str = NEIGHBOURS) -> NeighbourModel:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable.
        """
        weights_file, config_file = f"{name}.safetensors", f"{name}.json"
        config = read_config(folder / config_file)
        expected = f"{weights_file} and {config_file}"
        with loading(name, got=f"folder={folder}", expected=expected, do="Fit them again"):
            tensors = read_tensors(folder / weights_file, "items", "weights")
            recency, low_rating = float(config["recency"]), float(config["low_rating"])
            event_weights = {str(kind): float(weight) for kind, weight in config["event_weights"].items()}
            return cls(tensors["items"].numpy(), tensors["weights"].numpy(), recency, low_rating, event_weights)

    def _counting(self) -> dict[str, Any]:
        return {"recency": self.recency, "low_rating": self.low_rating, "event_weights": self.event_weights}


def _most_frequent(sequences: Sequence[np.ndarray], n_items: int, max_items: int) -> tuple[np.ndarray, np.ndarray]:
    """The item indices that are learned, ascending, and the place of each index among them, -1 for the others."""
    counts = np.bincount(np.concatenate([*sequences, np.zeros(0, dtype=np.int64)]), minlength=n_items + 1)
    counts[PADDING] = 0
    learned = np.sort(np.argsort(-counts, kind="stable")[:max_items])
    learned = learned[counts[learned] > 0]
    place = np.full(n_items + 1, -1, dtype=np.int64)
    place[learned] = np.arange(len(learned))
    return learned, place


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
        # Of a long history a few rows at a time: all of its pairs at once are many times the matrix itself.
        for some in known.split(max(_PAIRS // max(len(known), 1), 1)):
            gram[(some[:, None] * n + known[None, :]).flatten()] += 1.0
    gram = gram.view(n, n)
    gram.diagonal().add_(regularisation)
    return gram
