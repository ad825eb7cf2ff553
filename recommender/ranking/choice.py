"""Chooses among ways to rank by cross-validation over the users of the validation window, and whether to correct the
chosen one forward in time: fitted on the earlier half of the window, judged on the later one.

A correction reads features that tell items apart, and what is popular next is the same for all users of one window: by
other users of it, one that learned the window's own fashions by heart would be rewarded. A handful of weights has no
room for that, and is chosen surest by all users there are. Where a half has too few users to judge by, as in small
shops, other users of the window do.

Of all that lie within one standard error of the best, by users' paired differences, the simplest one is taken: few
users tell no complicated ranker from a simple one. None is taken whose mean is below that of the best part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recommender.ranking.blend import Blend
from recommender.ranking.candidates import Candidates
from recommender.ranking.correction import Correction

N_FOLDS = 5
# Fewer users tell nothing apart.
MIN_QUERIES = 20
# Queries with a target among their candidates; of fewer no correction is learned unless it is asked for.
MIN_LEARNED = 50
# How corrections were judged: forward in time, by other users of the same window, or not at all.
JudgedBy = Literal["time", "users", "nothing"]


@dataclass(frozen=True)
class Way:
    """A way to rank candidates: a blend, and what corrects it."""

    blend: Blend
    correction: Correction | None = None

    def scores(self, candidates: Candidates) -> np.ndarray:
        """Shape (B, C), float32."""
        found = self.blend.of_candidates(candidates)
        if self.correction is not None:
            added = [self.correction.added(features) for features in candidates.feature_passes()]
            found[candidates.there] += np.concatenate([np.zeros(0, dtype=np.float32), *added])
        return found


# From the candidates of some queries to a way to rank.
Fit = Callable[[Candidates], Way]


@dataclass(frozen=True)
class Option:
    """One way to rank.

    Attributes:
        way: Fitted on the whole window.
        ndcg: Of each query that judges, by a fit that did not see it. Shape (B,).
        level: How much it learns: 0 nothing but which one it is. Higher is more.
        is_part: Whether it is one part alone.
    """

    way: Way
    ndcg: np.ndarray
    level: int
    is_part: bool = False


def folds_of(n_queries: int, seed: int) -> np.ndarray:
    """Which fold each query is in, at random, as equal in size as can be. Shape (n_queries,)."""
    return np.random.default_rng([seed, 5]).permutation(n_queries) % N_FOLDS


def fixed(blend: Blend, candidates: Candidates, k: int) -> Option:
    """A blend that nothing was learned for."""
    way = Way(blend)
    return Option(way, candidates.ndcg(way.scores(candidates), k), level=0, is_part=len(blend.parts) == 1)


def cross_validated(fit: Fit, candidates: Candidates, folds: np.ndarray, k: int, level: int) -> Option:
    """A way that is learned: figures of each fold come from a fit on the others."""
    ndcg = np.zeros(len(candidates))
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold)
        held_out = candidates.take(inside)
        way = fit(candidates.take(np.flatnonzero(folds != fold)))
        ndcg[inside] = held_out.ndcg(way.scores(held_out), k)
    return Option(fit(candidates), ndcg, level)


@dataclass(frozen=True)
class Halves:
    """The halves of a validation window.

    Attributes:
        whole: The queries as the window opened, with all that was taken in it.
        early: The same, with what was taken in the earlier half.
        late: The queries as the later half opened, with what was taken in it.
    Source: Tashman 2000, Out-of-sample tests of forecasting accuracy (evaluation from a later origin).
    """

    whole: Candidates
    early: Candidates
    late: Candidates

    @property
    def can_judge(self) -> bool:
        """Whether there is enough to learn a correction from, and to judge it by."""
        return self.early.n_with_target >= MIN_LEARNED and len(self.late) >= MIN_QUERIES

    def forward(self, fit: Fit, k: int, level: int) -> Option:
        """A way that is fitted on the earlier half and judged on the later one."""
        return Option(fit(self.whole), self.late.ndcg(fit(self.early).scores(self.late), k), level)


def simplest_of_the_best(options: Sequence[Option]) -> Option:
    """See the module; among options of one level the best, of equals the first.

    Source: Breiman et al. 1984, Classification and Regression Trees (the one-standard-error rule).
    """
    best = max(options, key=lambda option: float(option.ndcg.mean()))
    floor = max((float(option.ndcg.mean()) for option in options if option.is_part), default=0.0)
    eligible = [
        option for option in options if option.ndcg.mean() >= floor and not _is_surely_worse(option.ndcg, best.ndcg)
    ]
    return min(eligible, key=lambda option: (option.level, -float(option.ndcg.mean())))


def best_correction(uncorrected: Option, corrections: Sequence[Option]) -> Option:
    """The simplest of the best among corrections that are surely better than none; `uncorrected` where no one is."""
    better = [option for option in corrections if _is_surely_worse(uncorrected.ndcg, option.ndcg)]
    return simplest_of_the_best(better or [uncorrected])


def _is_surely_worse(ndcg: np.ndarray, best: np.ndarray) -> bool:
    """Whether the mean is lower by more than a standard error of the paired difference."""
    lost = best - ndcg
    return bool(lost.mean() > lost.std(ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else bool(lost.mean() > 0)
