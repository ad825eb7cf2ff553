"""How long bundles take for one answer, side by side on the same machine at the same time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.bundle.loading import Bundle
from recommender.inputs.user import UserState

N_USERS = 40
_ROUNDS = 3


@dataclass(frozen=True)
class Latency:
    """Two bundles that answer one user after another.

    Attributes:
        candidate_ms: The median over users of the candidate's quickest answer.
        champion_ms: Likewise.
        n_users: Who were asked about.
    """

    candidate_ms: float
    champion_ms: float
    n_users: int

    @property
    def growth(self) -> float:
        """The share by which the candidate takes longer; below 0 where it is quicker."""
        return self.candidate_ms / self.champion_ms - 1

    def describe(self) -> str:
        """Both figures and the share."""
        return (
            f"{self.candidate_ms:.2f} ms an answer against {self.champion_ms:.2f} ms ({self.growth:+.0%}, "
            f"{self.n_users} users)"
        )


def measure_latency(candidate: Bundle, champion: Bundle, users: Sequence[UserState], k: int) -> Latency:
    """Ask both for each user's list, in turns, several times: what else the machine does meets both alike.

    Args:
        users: Of whom the first `N_USERS` are asked about; at least one.
        k: Length of the lists.
    """
    asked = users[:N_USERS]
    quickest = np.full((len(asked), 2), np.inf)
    bundles = (candidate, champion)
    for bundle in bundles:
        bundle.ranker.for_one(asked[0]).top_k([asked[0]], k)  # what is worked out once is worked out now
    for number in range(_ROUNDS):
        for row, user in enumerate(asked):
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                begun = time.perf_counter()
                bundles[place].ranker.for_one(user).top_k([user], k)
                quickest[row, place] = min(quickest[row, place], time.perf_counter() - begun)
    candidate_ms, champion_ms = np.median(quickest, axis=0) * 1000
    return Latency(float(candidate_ms), float(champion_ms), len(asked))
