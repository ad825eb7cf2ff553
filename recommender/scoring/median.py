"""From an expected rating to the median one: the rating whose absolute error is expected to be the least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recommender.scoring.regression import fit_logistic

# A scale of more ratings than these is cut at its quantiles.
MAX_LEVELS = 20
PENALTY = 1e-5
# Cut points where every rating is above a level, or none is.
BELOW_ALL, ABOVE_ALL = 0.0, 6.0


@dataclass(frozen=True)
class RatingMedian:
    """Above which expected rating the median is which one.

    Where P(rating > level) = sigmoid(slope * expected + offset), the median is above the level from the expected
    rating on at which this is a half. An expected rating is the answer with the least squared error; the median is the
    one with the least absolute error, and always a rating that people give.

    Attributes:
        levels: The ratings that are given, ascending; one at least.
        cuts: The expected rating at which the median goes from each level to the next. One fewer than levels.
    """

    levels: tuple[float, ...]
    cuts: tuple[float, ...]

    @classmethod
    def of(cls, config: dict[str, Sequence[float]]) -> RatingMedian:
        """From what `asdict` gives.

        Raises:
            ValueError: the two do not fit together.
        """
        found = cls(tuple(config["levels"]), tuple(config["cuts"]))
        if len(found.cuts) != len(found.levels) - 1 or list(found.cuts) != sorted(found.cuts):
            raise ValueError(f"{len(found.cuts)} ascending cuts between {len(found.levels)} ratings")
        return found

    @classmethod
    def fit(cls, expected: np.ndarray, ratings: np.ndarray) -> RatingMedian:
        """Logistic regressions on pairs that the scorer has not learned from.

        Args:
            expected: The scorer's ratings. Shape (N,).
            ratings: What was given. Shape (N,).
        """
        levels = levels_of(ratings)
        features = torch.from_numpy(np.asarray(expected, dtype=np.float64))[:, None]
        cuts = [_cut(features, ratings > level) for level in levels[:-1]]
        return cls(tuple(levels), tuple(np.maximum.accumulate(cuts).tolist()) if cuts else ())

    def __call__(self, expected: np.ndarray) -> np.ndarray:
        """Shape (n,) -> (n,), float32.

        >>> RatingMedian((1.0, 2.0, 5.0), (1.5, 3.0))(np.array([1.0, 1.6, 4.9]))
        array([1., 2., 5.], dtype=float32)
        """
        medians: np.ndarray = np.array(self.levels, dtype=np.float32)[np.searchsorted(self.cuts, expected)]
        return medians


def levels_of(ratings: np.ndarray) -> list[float]:
    """The different ratings, ascending; of more than 20 those at the quantiles.

    >>> levels_of(np.array([4.0, 1.0, 4.0]))
    [1.0, 4.0]
    """
    levels = np.unique(ratings.astype(np.float64))
    if len(levels) > MAX_LEVELS:
        shares = np.linspace(0, 1, MAX_LEVELS)
        levels = np.unique(np.quantile(ratings.astype(np.float64), shares, method="closest_observation"))
    found: list[float] = levels.tolist()
    return found


def _cut(expected: torch.Tensor, above: np.ndarray) -> float:
    """Where the chance of a rating above a level is a half; past every rating where it never is, or always."""
    share = float(above.mean())
    always = BELOW_ALL if share > 0.5 else ABOVE_ALL
    (slope,), offset = fit_logistic(expected, torch.from_numpy(above.astype(np.float64)), PENALTY)
    return min(max(-offset / slope, BELOW_ALL), ABOVE_ALL) if slope > 0 else always
