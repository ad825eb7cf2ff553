"""What other lists would have brought, out of a log of lists that were drawn by chance: off-policy estimates.

All arrays have a row per list and a column per place, shape (n, k). A place's reward may depend on the items above it
and not on those below (the cascade assumption), so it is weighted by the chances of the places down to it. The value is
the rewards of a list, all places together. Estimates need that the log could have shown whatever the other lists hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recommender.errors import MetricError
from recommender.fitting.finiteness import finite_scores
from recommender.metrics.significance import CONFIDENCE, drawn_means


@dataclass(frozen=True)
class Estimate:
    """A figure; `low` and `high` bound it at 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OffPolicy:
    """What other lists would have brought by each estimator, and what the logged ones did (`logged`)."""

    logged: Estimate
    ips: Estimate
    snips: Estimate
    doubly_robust: Estimate


@dataclass(frozen=True)
class Difference:
    """What one's lists would have brought less what another's would, by each estimator."""

    snips: Estimate
    doubly_robust: Estimate


def importance_weights(target: np.ndarray, logged: np.ndarray, clip: float | None = None) -> np.ndarray:
    """How much more often the target makes the list down to each place than the log did: prod_{i<=j} target_i/logged_i.

    Args:
        target: The target's probability of the logged item at each place, given those above it. Shape (n, k).
        logged: That of the log, above 0. Shape (n, k).
        clip: No weight is larger; this lowers the variance, and makes estimates too small. None leaves them.

    >>> importance_weights(np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.5, 0.25], [0.5, 0.5]]))
    array([[2., 8.],
           [0., 0.]])

    Raises:
        MetricError: a logged probability is not above 0 and at most 1.
    Source: Precup, Sutton & Singh 2000 (per decision); for lists McInerney et al. 2020.
    """
    if len(logged) and not (logged.min() > 0 and logged.max() <= 1):
        raise MetricError(
            "Cannot weigh the lists",
            got=f"probability={logged.min():g} to {logged.max():g}",
            expected="above 0, at most 1, of everything that was shown",
            do="Leave out lists whose probabilities are not known",
        )
    weights = np.cumprod(target / logged, axis=1)
    return weights if clip is None else np.minimum(weights, clip)


def ips(rewards: np.ndarray, weights: np.ndarray) -> float:
    """Inverse propensity score: sum_j mean_t w_tj r_tj. Unbiased.

    >>> ips(np.array([[1.0], [0.0], [1.0]]), np.array([[2.0], [1.0], [0.0]]))
    0.6666666666666666

    Source: Horvitz & Thompson 1952.
    """
    return float(_checked(rewards, weights).mean(axis=0).sum())


def snips(rewards: np.ndarray, weights: np.ndarray) -> float:
    """Self-normalised: sum_j (sum_t w_tj r_tj) / (sum_t w_tj). A little biased, varies less; NaN without any weight.

    >>> snips(np.array([[1.0], [0.0], [1.0]]), np.array([[2.0], [3.0], [0.0]]))
    0.4

    Source: Swaminathan & Joachims 2015; by place McInerney et al. 2020.
    """
    tops, bottoms = _checked(rewards, weights).sum(axis=0), weights.sum(axis=0)
    return float(_ratio(tops, bottoms).sum())


def doubly_robust(rewards: np.ndarray, weights: np.ndarray, modelled: np.ndarray, expected: np.ndarray) -> float:
    """sum_j mean_t (expected_tj + w_tj (r_tj - modelled_tj)): unbiased where the weights or the model are right.

    Args:
        modelled: A model's reward of the logged item. Shape (n, k).
        expected: The mean of that model's rewards of the target's item at this place. Shape (n, k).

    >>> doubly_robust(np.array([[1.0], [0.0]]), np.array([[2.0], [0.0]]), np.full((2, 1), 0.5), np.full((2, 1), 0.25))
    0.75

    Source: Dudik, Langford & Li 2011.
    """
    _checked(rewards, weights)
    return float((expected + weights * (rewards - modelled)).mean(axis=0).sum())


def effective_sample_size(weights: np.ndarray) -> np.ndarray:
    """So many lists drawn from the target would vary as much: (sum_t w_tj)^2 / sum_t w_tj^2 of each place. Shape (k,).

    >>> effective_sample_size(np.array([[2.0], [1.0], [1.0], [0.0]]))
    array([2.66666667])

    Source: Kish 1965.
    """
    squares = np.square(weights).sum(axis=0)
    return np.divide(np.square(weights.sum(axis=0)), squares, out=np.zeros(weights.shape[1]), where=squares > 0)


def estimate(
    rewards: np.ndarray, weights: np.ndarray, modelled: np.ndarray, expected: np.ndarray, users: np.ndarray, seed: int
) -> OffPolicy:
    """All estimators with bootstrap intervals over users: all lists of a user are drawn together.

    Args:
        users: The number of each list's user, from 0, none left out. Shape (n,), int.
        seed: Of the draws.
    Raises:
        MetricError: there is no list.
        NotFinite: a reward or a weight is NaN or infinite.
    Source: percentile intervals, Efron & Tibshirani 1993, ch. 13.
    """
    robust = expected + weights * (rewards - modelled)
    columns = np.column_stack(
        [rewards.sum(axis=1), robust.sum(axis=1), _checked(rewards, weights), weights]
    )  # (n, 2 + 2 k)
    n_users, k = int(users.max()) + 1, rewards.shape[1]
    sums = np.zeros((n_users, columns.shape[1]))
    np.add.at(sums, users, columns)
    counts = np.broadcast_to(np.bincount(users, minlength=n_users)[:, None], sums.shape)
    drawn = drawn_means(sums, counts, seed)
    weighted, weight = drawn[:, 2 : 2 + k], drawn[:, 2 + k :]
    return OffPolicy(
        logged=_bounded(float(rewards.sum(axis=1).mean()), drawn[:, 0]),
        ips=_bounded(ips(rewards, weights), weighted.sum(axis=1)),
        snips=_bounded(snips(rewards, weights), _ratio(weighted, weight).sum(axis=1)),
        doubly_robust=_bounded(doubly_robust(rewards, weights, modelled, expected), drawn[:, 1]),
    )


def estimate_difference(
    rewards: np.ndarray,
    modelled: np.ndarray,
    ours: tuple[np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
    users: np.ndarray,
    seed: int,
) -> Difference:
    """Two targets on the same log, with bootstrap intervals over users: both see the same draws.

    Args:
        modelled: A model's reward of the logged item. Shape (n, k).
        ours, theirs: Weights of a target, and the model's rewards of its items. Shapes (n, k).
        users: As for `estimate`.
        seed: Of the draws.
    Raises:
        MetricError, NotFinite: as `estimate`.
    """
    k, n_users = rewards.shape[1], int(users.max()) + 1
    columns = np.column_stack(
        [
            column
            for weights, expected in (ours, theirs)
            for column in (
                (expected + weights * (rewards - modelled)).sum(axis=1),
                _checked(rewards, weights),
                weights,
            )
        ]
    )  # (n, 2 (1 + 2 k))
    sums = np.zeros((n_users, columns.shape[1]))
    np.add.at(sums, users, columns)
    counts = np.broadcast_to(np.bincount(users, minlength=n_users)[:, None], sums.shape)

    def differences(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        robust, normalised = [], []
        for start in (0, 1 + 2 * k):
            weighted = means[:, start + 1 : start + 1 + k]
            robust.append(means[:, start])
            normalised.append(_ratio(weighted, means[:, start + 1 + k : start + 1 + 2 * k]).sum(axis=1))
        return normalised[0] - normalised[1], robust[0] - robust[1]

    values = differences(columns.mean(axis=0)[None, :])
    drawn = differences(drawn_means(sums, counts, seed))
    normalised, robust = (_bounded(float(value[0]), draws) for value, draws in zip(values, drawn, strict=True))
    return Difference(snips=normalised, doubly_robust=robust)


def _bounded(value: float, drawn: np.ndarray) -> Estimate:
    """With a percentile interval; a draw without any weight says nothing."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def _ratio(tops: np.ndarray, bottoms: np.ndarray) -> np.ndarray:
    return np.divide(tops, bottoms, out=np.full(tops.shape, np.nan), where=bottoms > 0)


def _checked(rewards: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted rewards."""
    if not len(rewards):
        raise MetricError("Cannot estimate", got="lists=0", expected="at least 1", do="Wait until lists were shown")
    finite_scores("the rewards", rewards)
    finite_scores("the weights", weights)
    return rewards * weights
