"""What the pair scorer reads of a pair: the user's history seen from the item, and counts and means of ratings.

`scorer_input` is the one function for training, evaluation and serving.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core import schema
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import PADDING
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState

N_MEANS = 3  # of the liked, the disliked, all entries of a history
N_NUMBERS = 12
LOG_COUNT_SCALE = 4.0
# Of the neighbours' deviations: how sharply a similar item outweighs a less similar one, and weight of "no opinion".
NEIGHBOUR_SHARPNESS = 6.0
NEIGHBOUR_PRIOR = 3.0
SQUARE_PRIOR = 0.05


@dataclass(frozen=True)
class RatingBaseline:
    """Ratings by user and item bias, each shrunk towards none: b = n / (n + shrinkage) * (mean - global mean).

    Attributes:
        global_mean: Of the training ratings.
        like_share: Share of the training ratings that are likes.
        like_from: A rating of at least this is a like.
    Source: Koren, Bell & Volinsky 2009, eq. 3; the shrinkage is Bell & Koren 2007.
    """

    global_mean: float
    like_share: float
    like_from: float
    user_shrinkage: float
    item_shrinkage: float

    def user_bias(self, mean: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Shapes (B,); a mean may be NaN where n is 0."""
        return _shrunk(mean, n, self.global_mean, self.user_shrinkage)

    def item_bias(self, mean: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Shapes (B,); a mean may be NaN where n is 0."""
        return _shrunk(mean, n, self.global_mean, self.item_shrinkage)


@dataclass(frozen=True)
class ItemRatings:
    """What others' ratings say of some items: just before each rating in training, now in serving, and as of the
    cut-off where a model is evaluated.

    Attributes:
        mean: Shape (B,), float32, NaN where there is none.
        n: Shape (B,), float32.
    """

    mean: np.ndarray
    n: np.ndarray

    @classmethod
    def of_catalogue(cls, catalogue: Catalogue) -> ItemRatings:
        """Of every item as of the cut-off, by index; row 0 is padding. Shapes (n_items + 1,)."""
        mean = catalogue.table.column(schema.ITEM_MEAN_RATING).to_numpy(zero_copy_only=False).astype(np.float32)
        n = catalogue.table.column(schema.ITEM_N_RATINGS).to_numpy(zero_copy_only=False).astype(np.float32)
        return cls(np.append(np.float32(np.nan), mean), np.append(np.float32(0), n))

    @classmethod
    def of_features(cls, features: Mapping[str, Any]) -> ItemRatings:
        """Of items as the feature store knows them; an item that it does not know has none."""
        mean, n = (features[name].astype(np.float32) for name in (schema.ITEM_MEAN_RATING, schema.ITEM_N_RATINGS))
        return cls(mean, n)

    def take(self, indices: Sequence[int]) -> ItemRatings:
        """Of some items."""
        return ItemRatings(self.mean[list(indices)], self.n[list(indices)])


@dataclass(frozen=True)
class ScorerInput:
    """What the network reads of B pairs.

    Attributes:
        items: Rows of the items' text vectors: indices, or versions of them. Shape (B,), int64.
        history: Rows of the user's history, right-padded with 0. Shape (B, T), int64, T >= 1.
        weights: Of the entries in the means of the liked, the disliked, all; each sums to 1 or to 0. Shape (3, B, T).
        numbers: Biases, counts, how the item looks from the history, what the factors say. Shape (B, N_NUMBERS).
        baseline: Global mean + biases. Shape (B,), float32.
    """

    items: Tensor
    history: Tensor
    weights: Tensor
    numbers: Tensor
    baseline: Tensor

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Tensor) -> ScorerInput:
        """Some of the pairs, their histories cut to the longest of them."""
        history = self.history[rows]
        longest = max(int((history != PADDING).sum(dim=1).max()), 1)
        return ScorerInput(
            self.items[rows],
            history[:, :longest],
            self.weights[:, rows, :longest],
            self.numbers[rows],
            self.baseline[rows],
        )


def scorer_input(
    users: Sequence[UserState],
    items: Sequence[int],
    ratings: ItemRatings,
    vectors: ItemVectors,
    baseline: RatingBaseline,
    opinions: np.ndarray,
) -> ScorerInput:
    """From pairs to what the network reads.

    Args:
        users: One per pair; the same object may stand for many pairs, and is read once then.
        items: Their rows in `vectors.text`, one per pair: the index in `vectors.ids`, or that of another version of the
            item's text, which then stands for the item in the history too.
        ratings: What others' ratings say of these items, one per pair.
        vectors: Items of a history that it does not know are left out.
        opinions: What `RatingFactors.opinions` says of the pairs. Shape (B, 2).
    """
    rows_of: dict[tuple[int, int], list[int]] = {}
    for row, (user, item) in enumerate(zip(users, items, strict=True)):
        rows_of.setdefault((id(user), item if item > len(vectors.ids) else PADDING), []).append(row)
    histories = [
        (rows, _History.of(users[rows[0]], vectors, baseline).with_version(version, vectors))
        for (_, version), rows in rows_of.items()
    ]
    longest = max((len(history.items) for _, history in histories), default=0)
    entries = np.zeros((len(users), max(longest, 1)), dtype=np.int64)
    weights = np.zeros((N_MEANS, *entries.shape), dtype=np.float32)
    views = np.zeros((len(users), 3), dtype=np.float32)
    targets = np.asarray(items, dtype=np.int64)
    text = vectors.text.numpy()
    for rows, history in histories:
        entries[rows, : len(history.items)] = history.items
        weights[:, rows, : len(history.items)] = history.weights[:, None]
        if len(history.items):
            views[rows] = history.views(text[history.items] @ text[targets[rows]].T)
    user_mean = np.array([math.nan if user.mean_rating is None else user.mean_rating for user in users])
    user_n = np.array([user.n_ratings for user in users], dtype=np.float64)
    user_bias, item_bias = baseline.user_bias(user_mean, user_n), baseline.item_bias(ratings.mean, ratings.n)
    n_entries = (entries != PADDING).sum(axis=1)
    liked_share = (weights[0] > 0).sum(axis=1) / np.maximum(n_entries, 1)
    counts = np.log1p(np.stack([user_n, ratings.n, n_entries], axis=1)) / LOG_COUNT_SCALE
    biased = baseline.global_mean + user_bias + item_bias
    numbers = np.column_stack(
        [user_bias, item_bias, counts, liked_share, views, opinions[:, 0] - biased, opinions[:, 1], user_n > 0]
    )
    return ScorerInput(
        items=torch.from_numpy(targets),
        history=torch.from_numpy(entries),
        weights=torch.from_numpy(weights),
        numbers=torch.from_numpy(numbers.astype(np.float32)),
        baseline=torch.from_numpy(biased.astype(np.float32)),
    )


@dataclass(frozen=True)
class _History:
    """A user's history as arrays.

    Attributes:
        items: Indices of the items that have a vector. Shape (T,), int64.
        weights: Of the entries in the three means. Shape (3, T).
        deviations: Rating - the user's mean rating; 0 where there is none. Shape (T,).
        rated: 1 where there is a rating, else 0. Shape (T,).
    """

    items: np.ndarray
    weights: np.ndarray
    deviations: np.ndarray
    rated: np.ndarray

    @classmethod
    def of(cls, user: UserState, vectors: ItemVectors, baseline: RatingBaseline) -> _History:
        """Weights of a mean: a liked entry by how far its rating lies above the threshold (plus 1), a disliked one by
        how far below it, and all equally."""
        known = [(item, value) for item, value in zip(user.items, user.values, strict=True) if item in vectors.ids]
        values = np.array([math.nan if value is None else value for _, value in known])
        liked = np.where(values >= baseline.like_from, values - baseline.like_from + 1, 0.0)
        disliked = np.where(values < baseline.like_from, baseline.like_from - values, 0.0)
        weights = np.stack([liked, disliked, np.ones(len(known))])
        centre = baseline.global_mean if user.mean_rating is None else user.mean_rating
        return cls(
            items=np.array(vectors.ids.known_indices(item for item, _ in known), dtype=np.int64),
            weights=weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9),
            deviations=np.nan_to_num(values - centre),
            rated=(~np.isnan(values)).astype(np.float64),
        )

    def with_version(self, version: int, vectors: ItemVectors) -> _History:
        """The same with another text of an item, where it holds that item; `version` 0 is none."""
        if version == PADDING:
            return self
        return replace(self, items=np.where(self.items == vectors.item_at(version), version, self.items))

    def views(self, cosines: np.ndarray) -> np.ndarray:
        """How some items look from here: their mean cosine, and what the user thought of similar ones, two ways.

        The deviations' means are weighted by cosine squared, and by exp(sharpness * cosine); priors draw both to 0.

        Args:
            cosines: Of the history's items and R items. Shape (T, R).
        Returns:
            Shape (R, 3).
        """
        squares = np.clip(cosines, 0, None) ** 2 * self.rated[:, None]
        sharp = np.exp(NEIGHBOUR_SHARPNESS * cosines) * self.rated[:, None]
        return np.column_stack(
            [
                cosines.mean(axis=0),
                self.deviations @ squares / (squares.sum(axis=0) + SQUARE_PRIOR),
                self.deviations @ sharp / (sharp.sum(axis=0) + NEIGHBOUR_PRIOR),
            ]
        )


def _shrunk(mean: np.ndarray, n: np.ndarray, global_mean: float, shrinkage: float) -> np.ndarray:
    offset = np.where((n > 0) & ~np.isnan(mean), mean - global_mean, 0.0)
    return n / (n + shrinkage) * offset
