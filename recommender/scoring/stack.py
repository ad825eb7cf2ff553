"""The pair scorer with a language model: the light form and the cross-encoder, weighed by what validation says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import schema
from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.scoring.cross_encoder import CrossEncoder, pair_texts
from recommender.scoring.input import ItemRatings, RatingBaseline, ScorerInput
from recommender.scoring.median import RatingMedian
from recommender.scoring.regression import fit_linear, fit_logistic
from recommender.scoring.scorer import PairScore, PairScorer, score_items

FOLDER = "cross_encoder"
STACK_FILE = "stack.json"
PENALTY = 1e-4


@dataclass(frozen=True)
class Weights:
    """light * the light form's answer + language * the cross-encoder's + offset."""

    light: float
    language: float
    offset: float

    def __call__(self, light: Tensor, language: Tensor) -> Tensor:
        return self.light * light + self.language * language + self.offset


@dataclass(frozen=True)
class Stack:
    """How much each of the two counts, for the like logit and for the rating, and the median of such ratings.

    Source: Wolpert 1992, Stacked generalization; the like logit is calibrated by it too, as by Platt 1999.
    """

    like: Weights
    rating: Weights
    median: RatingMedian

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Stack:
        """From what `asdict` gives."""
        return cls(Weights(**config["like"]), Weights(**config["rating"]), RatingMedian.of(config["median"]))

    @classmethod
    def fit(
        cls, light: tuple[Tensor, Tensor], language: tuple[Tensor, Tensor], likes: Tensor, ratings: Tensor
    ) -> Stack:
        """Regressions on pairs that neither has learned from, with weights that are not negative.

        Where both would be, neither counts: the answer is one for all, the log odds of a like or the mean rating. Where
        all of the pairs are likes, or none is, there is nothing to weigh like logits by: the light form's stay as they
        are.

        Args:
            light: Like logits and ratings of the light form. Shapes (N,).
            language: Those of the cross-encoder. Shapes (N,).
            likes: 1 for a like, else 0. Shape (N,).
            ratings: Shape (N,).
        """
        rating = _weigh(light[1], language[1], ratings, fit_linear, F.mse_loss, Tensor.clone)
        expected = rating(light[1], language[1]).clamp(*schema.RATING_RANGE)
        median = RatingMedian.fit(expected.numpy(), ratings.numpy())
        if likes.min() == likes.max():
            return cls(Weights(1.0, 0.0, 0.0), rating, median)
        log_loss = F.binary_cross_entropy_with_logits
        return cls(_weigh(light[0], language[0], likes, fit_logistic, log_loss, torch.logit), rating, median)


def _weigh(
    light: Tensor,
    language: Tensor,
    target: Tensor,
    fit: Callable[[Tensor, Tensor, float], tuple[list[float], float]],
    loss: Callable[[Tensor, Tensor], Tensor],
    alone: Callable[[Tensor], Tensor],
) -> Weights:
    """The least penalised loss that weights of at least 0 reach.

    The loss is convex, so that it is reached by both answers, by one alone, or by none: each is fitted freely, and of
    those whose weights are not negative the best is taken.

    Args:
        alone: From the mean of the target to the offset that is best where no answer counts.
    """
    answers, found = torch.stack([light, language], dim=1), []
    for chosen in ([0, 1], [0], [1], []):
        fitted, offset = (
            fit(answers[:, chosen], target, PENALTY) if chosen else ([], float(alone(target.double().mean())))
        )
        weights = dict(zip(chosen, fitted, strict=True))
        one = Weights(weights.get(0, 0.0), weights.get(1, 0.0), offset)
        if min(one.light, one.language) >= 0:
            penalty = PENALTY * (one.light**2 + one.language**2)
            found.append((float(loss(one(light, language).double(), target.double())) + penalty, one))
    return min(found, key=lambda reached: reached[0])[1]


class StackedScorer:
    """Answers as `PairScorer` does, with both. Safe to call from many threads.

    Args:
        light: Trained.
        encoder: Trained.
        stack: Fitted on the validation window.
    """

    def __init__(self, light: PairScorer, encoder: CrossEncoder, stack: Stack) -> None:
        self.light = light
        self.encoder = encoder.eval()
        self.stack = stack

    @property
    def baseline(self) -> RatingBaseline:
        return self.light.baseline

    @property
    def median(self) -> RatingMedian:
        return self.stack.median

    def score(self, user: UserState, item_ids: Sequence[str], ratings: ItemRatings | None = None) -> list[PairScore]:
        """See `PairScorer.score`."""
        return score_items(self.predict, self.median, user, item_ids, ratings)

    def predict(
        self, users: Sequence[UserState], item_ids: Sequence[str], ratings: ItemRatings | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `PairScorer.predict`."""
        light = self.light.outputs(users, item_ids, ratings)
        language = self.language_outputs(users, item_ids)
        with torch.inference_mode():
            p_like = torch.sigmoid(self.stack.like(light[0], language[0]))
            rating = self.stack.rating(light[1], language[1]).clamp(*schema.RATING_RANGE)
        return p_like.numpy(), rating.numpy()

    def language_outputs(self, users: Sequence[UserState], item_ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Like logits and ratings of the cross-encoder alone. Shapes (B,).

        Raises:
            UnknownItem: an item is not in the catalogue.
        """
        catalogue, like_from = self.light.vectors.catalogue, self.baseline.like_from
        pairs = zip(users, item_ids, strict=True)
        return self.encoder.outputs([pair_texts(user, item_id, catalogue, like_from) for user, item_id in pairs])

    def input(
        self, users: Sequence[UserState], item_ids: Sequence[str], ratings: ItemRatings | None = None
    ) -> ScorerInput:
        """What the light form reads; see `PairScorer.input`."""
        return self.light.input(users, item_ids, ratings)

    def save(self, folder: Path) -> None:
        """Write both and the stack into a folder that exists."""
        self.light.save(folder)
        (folder / FOLDER).mkdir()
        self.encoder.save(folder / FOLDER)
        write_json(folder / STACK_FILE, asdict(self.stack))

    @classmethod
    def load(cls, folder: Path, vectors: ItemVectors, device: str = "cpu") -> StackedScorer:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable, or the vectors are of another width.
        """
        config = read_config(folder / STACK_FILE)
        got, expected = f"file={folder / STACK_FILE}", "weights for like and rating"
        with loading("pair scorer", got=got, expected=expected, do="Fit the scorer again"):
            stack = Stack.of(config)
        return cls(PairScorer.load(folder, vectors, device), CrossEncoder.load(folder / FOLDER, device), stack)


def load_scorer(folder: Path, vectors: ItemVectors, device: str = "cpu") -> PairScorer | StackedScorer:
    """The scorer of a bundle, of either kind.

    Raises:
        BundleError: a file is missing or unreadable, or the vectors are of another width.
    """
    kind = StackedScorer if (folder / STACK_FILE).exists() else PairScorer
    return kind.load(folder, vectors, device)
