"""The pair scorer, light form: how much a user likes an item, as a probability and as a rating.

A small network reads what the user's history says of the item (text vectors), what everyone's ratings say of both
(counts and means), and what a matrix factorisation makes of the history's ratings. Its rating starts from user and item
bias and learns the rest; its probability is calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import schema
from core.storage import write_json
from recommender.errors import BundleError
from recommender.fitting.component import loading, read_config
from recommender.fitting.device import device_of, moved
from recommender.fitting.finiteness import finite_scores
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.scoring.factors import RatingFactors
from recommender.scoring.input import N_MEANS, N_NUMBERS, ItemRatings, RatingBaseline, ScorerInput, scorer_input
from recommender.scoring.median import RatingMedian

WEIGHTS_FILE = "scorer.safetensors"
CONFIG_FILE = "scorer.json"


class ScorerNetwork(nn.Module):
    """Pairs to a like logit and a rating.

    Args:
        text_width: Length D of an item's vector.
        hidden: Width of the projection and of the hidden layer.
        dropout: Of the hidden layer's input.
    """

    def __init__(self, text_width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(text_width, hidden, bias=False)
        self.mix = nn.Sequential(
            nn.Dropout(dropout), nn.Linear((1 + N_MEANS) * hidden + N_MEANS + N_NUMBERS, hidden), nn.GELU()
        )
        self.heads = nn.Linear(hidden, 2)
        # Both answers start as a regression on the numbers, which training puts here before it starts;
        # what the network adds to that is learned from nothing.
        self.of_numbers = nn.Linear(N_NUMBERS, 2)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def forward(self, pairs: ScorerInput, items: Tensor) -> tuple[Tensor, Tensor]:
        """Like logits and ratings, both of shape (B,).

        Args:
            pairs: B pairs.
            items: The items' vectors through `project`, row 0 zeros. Shape (n_items + 1, H).
        """
        item = items[pairs.items]  # (B, H)
        means = torch.stack(
            [F.embedding_bag(pairs.history, items, mode="sum", per_sample_weights=weights) for weights in pairs.weights]
        )  # (3, B, H)
        cosines = F.cosine_similarity(means, item, dim=-1)  # (3, B)
        features = torch.cat([item, *(means * item), cosines.T, pairs.numbers], dim=1)
        like, correction = (self.heads(self.mix(features)) + self.of_numbers(pairs.numbers)).unbind(dim=1)
        return like, pairs.baseline + correction


@dataclass(frozen=True)
class Calibration:
    """P(like) = sigmoid(slope * logit + offset).

    Source: Platt 1999.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * logits + self.offset)


@dataclass(frozen=True)
class PairScore:
    """How much a user likes an item.

    Attributes:
        p_like: Calibrated probability of a like, 0 to 1.
        rating: Expected rating, within `schema.RATING_RANGE`: the answer with the least squared error.
        median_rating: The rating with the least expected absolute error, one that people give.
    """

    item_id: str
    p_like: float
    rating: float
    median_rating: float


def score_items(
    predict: Callable[[Sequence[UserState], Sequence[str], ItemRatings | None], tuple[np.ndarray, np.ndarray]],
    median: RatingMedian,
    user: UserState,
    item_ids: Sequence[str],
    ratings: ItemRatings | None,
) -> list[PairScore]:
    """What a scorer's `predict`, and the median of its ratings, say of some items for one user."""
    if not item_ids:
        return []
    p_like, predicted = predict([user] * len(item_ids), item_ids, ratings)
    columns = (p_like.tolist(), predicted.tolist(), median(predicted).tolist())
    return [PairScore(*row) for row in zip(item_ids, *columns, strict=True)]


class PairScorer:
    """The network with all that it needs to answer. Safe to call from many threads.

    Args:
        network: Trained.
        baseline: As in training.
        factors: Learned from all training ratings.
        calibration: Fitted on the validation window.
        median: Likewise.
        vectors: Items' vectors, and the catalogue with the items' ratings at the cut-off.
        use_modality: Whether the network reads the items' further vectors beside their texts'.
    """

    def __init__(
        self,
        network: ScorerNetwork,
        baseline: RatingBaseline,
        factors: RatingFactors,
        calibration: Calibration,
        median: RatingMedian,
        vectors: ItemVectors,
        *,
        use_modality: bool = False,
    ) -> None:
        self.network = network.eval()
        self.use_modality = use_modality
        self.baseline = baseline
        self.factors = factors
        self.calibration = calibration
        self.median = median
        self.vectors = vectors
        self._ratings = ItemRatings.of_catalogue(vectors.catalogue)
        with torch.inference_mode():
            content = vectors.content(True, use_modality).to(device_of(network))
            self._items = self.network.project(content)  # (n_items + 1, H)

    def score(self, user: UserState, item_ids: Sequence[str], ratings: ItemRatings | None = None) -> list[PairScore]:
        """Score some items for one user, in the order given.

        Args:
            ratings: What is known of the items' ratings now; as of the cut-off where not given.
        Raises:
            UnknownItem: an item is not in the catalogue.
        """
        return score_items(self.predict, self.median, user, item_ids, ratings)

    def predict(
        self, users: Sequence[UserState], item_ids: Sequence[str], ratings: ItemRatings | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """P(like) and rating of many pairs, one user per item. Shapes (B,), float32.

        Raises:
            UnknownItem: an item is not in the catalogue.
            NotFinite: an answer is NaN or infinite.
        """
        logits, predicted = self.outputs(users, item_ids, ratings)
        return self.calibration(logits).numpy(), predicted.clamp(*schema.RATING_RANGE).numpy()

    @torch.inference_mode()
    def outputs(
        self, users: Sequence[UserState], item_ids: Sequence[str], ratings: ItemRatings | None = None
    ) -> tuple[Tensor, Tensor]:
        """Like logits before calibration, and ratings that may lie out of range. Shapes (B,), on the CPU.

        Raises:
            UnknownItem: an item is not in the catalogue.
            NotFinite: an answer is NaN or infinite.
        """
        pairs = moved(self.input(users, item_ids, ratings), device_of(self.network))
        logits, predicted = (answers.cpu() for answers in self.network(pairs, self._items))
        for answers in (logits, predicted):
            finite_scores("pair scorer", answers.numpy())
        return logits, predicted

    def input(
        self, users: Sequence[UserState], item_ids: Sequence[str], ratings: ItemRatings | None = None
    ) -> ScorerInput:
        """What the network reads of these pairs, with the items' ratings as of the cut-off where none are given.

        Raises:
            UnknownItem: an item is not in the catalogue.
        """
        indices = [self.vectors.ids.index(item_id) for item_id in item_ids]
        known = self._ratings.take(indices) if ratings is None else ratings
        opinions = self.factors.opinions(users, indices, self.vectors.ids)
        return scorer_input(users, indices, known, self.vectors, self.baseline, opinions)

    def save(self, folder: Path) -> None:
        """Write weights and configuration into a folder that exists; the vectors are a component of their own."""
        save_tensors(folder / WEIGHTS_FILE, self.network.state_dict())
        self.factors.save(folder)
        config = {
            "text_width": self.network.project.in_features,
            "hidden": self.network.project.out_features,
            "use_modality": self.use_modality,
            "baseline": asdict(self.baseline),
            "calibration": asdict(self.calibration),
            "median": asdict(self.median),
        }
        write_json(folder / CONFIG_FILE, config)

    @classmethod
    def load(cls, folder: Path, vectors: ItemVectors, device: str = "cpu") -> PairScorer:
        """Read what `save` wrote.

        Args:
            folder: The `scorer` component.
            vectors: The `vectors` component that it was trained on.
            device: Where the network computes.
        Raises:
            BundleError: a file is missing or unreadable, or the vectors are of another width.
        """
        config = read_config(folder / CONFIG_FILE)
        expected, do = f"{WEIGHTS_FILE} and {CONFIG_FILE}", "Fit the scorer again"
        with loading("pair scorer", got=f"folder={folder}", expected=expected, do=do):
            network = ScorerNetwork(config["text_width"], config["hidden"], dropout=0.0)
            network.load_state_dict(read_tensors(folder / WEIGHTS_FILE))
            baseline = RatingBaseline(**config["baseline"])
            calibration = Calibration(**config["calibration"])
            median = RatingMedian.of(config["median"])
        use_modality = bool(config.get("use_modality", False))
        width = vectors.content(True, use_modality).shape[1]
        if width != config["text_width"]:
            raise BundleError(
                "Cannot load pair scorer",
                got=f"text_width={width}",
                expected=f"{config['text_width']}, as in training",
                where=str(folder),
                do=do,
            )
        factors = RatingFactors.load(folder)
        return cls(network.to(device), baseline, factors, calibration, median, vectors, use_modality=use_modality)
