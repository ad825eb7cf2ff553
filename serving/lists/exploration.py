"""Lists that explore: places are given to other candidates now and then, each with the probability that it was.

A list is made place by place out of the candidates that are left, and a propensity is that of its place given the items
above it; the product of all is that of the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import randbelow

import numpy as np
from scipy.special import log_ndtr

from serving.api.options import AppliedExploration, Exploration

EPSILON, SCALE = 0.1, 0.5
# Of the draws' deviation: an item with few events at most three times the median's, one with many at least a third.
_SURENESS = (1 / 3, 3.0)
# Where the density of a draw is summed up, in its own standard deviations. No candidate's deviation is below a ninth
# of another's, so the distribution functions are smooth at this step and the sum is that of the integral.
_NODES = np.linspace(-8.0, 8.0, 257)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_MAX_SEED = 2**31


@dataclass(frozen=True)
class Explored:
    """A list.

    Attributes:
        places: Of each item among the candidates, from 0, in the order of the list.
        propensities: Of each, above 0 and at most 1.
        applied: How it was made.
    """

    places: list[int]
    propensities: list[float]
    applied: AppliedExploration


def explore(asked: Exploration, scores: Sequence[float], n_events: np.ndarray, k: int) -> Explored:
    """Make a list of min(k, N) out of N candidates.

    Args:
        scores: Of the candidates, best first. Shape (N,).
        n_events: How many events each has, for thompson. Shape (N,).
    """
    seed = randbelow(_MAX_SEED) if asked.seed is None else asked.seed
    chance = np.random.default_rng(seed)
    if asked.kind == "epsilon":
        epsilon, scale = EPSILON if asked.epsilon is None else asked.epsilon, None
        places, propensities = _by_epsilon(chance, epsilon, len(scores), k)
    else:
        epsilon, scale = None, SCALE if asked.scale is None else asked.scale
        means, deviations = beliefs(np.asarray(scores, dtype=np.float64), n_events, scale)
        places, propensities = _by_draws(chance, means, deviations, k)
    return Explored(
        places,
        propensities,
        AppliedExploration(
            kind=asked.kind,
            epsilon=epsilon,
            scale=scale,
            n_candidates=len(scores),
            seed=seed,
            propensity="exact" if asked.kind == "epsilon" else "integrated",
        ),
    )


def beliefs(scores: np.ndarray, n_events: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each candidate's draws: its score, standardised, and less sure with fewer events.

    deviation = scale x sqrt((1 + m) / (1 + n)), with m the median of the candidates' events n, within a third and
    three times the scale.

    Returns:
        Shapes (N,), float64.
    """
    means = scores - scores.mean() if len(scores) else scores
    spread = means.std() if len(scores) else 0.0
    means = means / spread if spread > 0 else np.zeros_like(means)
    median = float(np.median(n_events)) if len(n_events) else 0.0
    return means, scale * np.clip(np.sqrt((1 + median) / (1 + n_events)), *_SURENESS)


def chances_of_best(means: np.ndarray, deviations: np.ndarray, place: int) -> float:
    """The probability that one of independent normal draws is the largest.

    Args:
        means, deviations: Of the draws. Shape (M,).
        place: Which of them.
    """
    draws = means[place] + deviations[place] * _NODES
    others = np.delete(np.arange(len(means)), place)
    below = log_ndtr((draws[:, None] - means[others]) / deviations[others]).sum(axis=1)
    return float(np.clip(_WEIGHTS @ np.exp(below), np.finfo(np.float64).tiny, 1.0))


def _by_epsilon(chance: np.random.Generator, epsilon: float, n: int, k: int) -> tuple[list[int], list[float]]:
    left, places, propensities = list(range(n)), [], []
    for _ in range(min(k, n)):
        among = len(left)
        drawn = int(chance.integers(among)) if chance.random() < epsilon else 0
        propensities.append(epsilon / among + (1 - epsilon if drawn == 0 else 0.0))
        places.append(left.pop(drawn))
    return places, propensities


def _by_draws(
    chance: np.random.Generator, means: np.ndarray, deviations: np.ndarray, k: int
) -> tuple[list[int], list[float]]:
    left, places, propensities = np.arange(len(means)), [], []
    for _ in range(min(k, len(means))):
        drawn = int(np.argmax(chance.normal(means[left], deviations[left])))
        propensities.append(chances_of_best(means[left], deviations[left], drawn))
        places.append(int(left[drawn]))
        left = np.delete(left, drawn)
    return places, propensities
