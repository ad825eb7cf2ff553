"""Figures of which users have several each: their intervals are by bootstrap over users, not over figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.metrics.significance import CONFIDENCE, drawn_means, sign_flip_p_values

SEED_OF_INTERVALS = 0
N_SAMPLES = 10_000


@dataclass(frozen=True)
class ByUser:
    """Figures by the user that they are of. One whom several months or seeds rank for is one user all the same.

    Attributes:
        sums: Of each user's values in each column. Shape (n_users, m).
        counts: How many those are. Shape (n_users, m).
    """

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, users: Sequence[str], values: np.ndarray) -> ByUser:
        """Of values of shape (n,) or (n, m), one row for each of `users`, which may name somebody often."""
        columns = np.asarray(values, dtype=np.float64).reshape(len(users), -1)
        _, user = np.unique(users, return_inverse=True)
        sums = np.stack([np.bincount(user, column) for column in columns.T], axis=1)
        return cls(sums, np.repeat(np.bincount(user)[:, None], columns.shape[1], axis=1).astype(np.float64))

    @property
    def means(self) -> np.ndarray:
        """Of each column, over values. Shape (m,)."""
        found: np.ndarray = self.sums.sum(axis=0) / self.counts.sum(axis=0)
        return found

    def interval(self, column: int = 0) -> tuple[float, float]:
        """95 % percentile interval of a column's mean, users drawn with replacement."""
        return _ends(self._drawn()[:, column])

    def p_value(self, column: int = 0) -> float:
        """How often random signs, one for each user, give a mean as far from zero."""
        return float(sign_flip_p_values(self.sums[:, [column]], SEED_OF_INTERVALS)[0])

    def ratio(self) -> tuple[float, float, float]:
        """The first column's mean over the second one's, and the ends of its 95 % interval."""
        first, second = self.means
        drawn = self._drawn()
        return float(first / second), *_ends(drawn[:, 0] / drawn[:, 1])

    def _drawn(self) -> np.ndarray:
        return drawn_means(self.sums, self.counts, SEED_OF_INTERVALS, N_SAMPLES)


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
