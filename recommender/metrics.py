"""Measures of ranked lists, each per query, so that means, groups and bootstrap intervals come from one array.

A query's list is judged by `hits`: whether the item at each of the first k places is a target. Targets that the model
does not know are in `n_targets`, so they count as misses. Shapes: hits (n_queries, k) bool, n_targets (n_queries,).
Every formula is for one query with T targets and h_i in {0, 1} the hit at place i = 1..k.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recommender.rating_metrics import MetricError


def precision(hits: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """sum_i h_i / k.

    >>> precision(np.array([[True, False, True, False]]), np.array([3]))
    array([0.5])
    """
    _check(hits, n_targets)
    return hits.mean(axis=1)


def recall(hits: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """sum_i h_i / T.

    >>> recall(np.array([[True, False, True, False]]), np.array([4]))
    array([0.5])
    """
    _check(hits, n_targets)
    return hits.sum(axis=1) / n_targets


def f1(hits: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """2 precision recall / (precision + recall) = 2 sum_i h_i / (k + T); 0 without a hit.

    >>> f1(np.array([[True, False, True, False]]), np.array([4]))
    array([0.5])
    """
    _check(hits, n_targets)
    return 2 * hits.sum(axis=1) / (hits.shape[1] + n_targets)


def hit_rate(hits: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """1 if any h_i = 1, else 0.

    >>> hit_rate(np.array([[False, True], [False, False]]), np.array([1, 1]))
    array([1., 0.])
    """
    _check(hits, n_targets)
    return hits.any(axis=1).astype(float)


def ndcg(hits: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """sum_i h_i / log2(i + 1), over the same sum for the best list: ones at places 1..min(T, k).

    >>> ndcg(np.array([[False, True]]), np.array([1])).round(4)
    array([0.6309])

    Source: Järvelin & Kekäläinen 2002, with binary gains.
    """
    _check(hits, n_targets)
    discounts = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    best = np.cumsum(discounts)[np.minimum(n_targets, hits.shape[1]) - 1]
    return (hits @ discounts) / best


def mrr(hits: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """1 / place of the first hit; 0 without one.

    >>> mrr(np.array([[False, True, True]]), np.array([2]))
    array([0.5])
    """
    _check(hits, n_targets)
    return np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)


def mean_average_precision(hits: np.ndarray, n_targets: np.ndarray) -> np.ndarray:
    """sum_i h_i precision_at_i / min(T, k); its mean over queries is MAP.

    >>> mean_average_precision(np.array([[True, False, True]]), np.array([2])).round(4)
    array([0.8333])
    """
    _check(hits, n_targets)
    precision_at = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return (hits * precision_at).sum(axis=1) / np.minimum(n_targets, hits.shape[1])


PER_QUERY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "map": mean_average_precision,
}


def metric_key(name: str, k: int) -> str:
    """The name that reports use: `ndcg_at_10`."""
    return f"{name}_at_{k}"


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Share of the catalogue that stands in at least one list.

    Args:
        lists: Item indices from 1, 0 where a list is short. Shape (n_queries, k).

    >>> coverage(np.array([[1, 2], [2, 0]]), n_items=4)
    0.5
    """
    return int(np.count_nonzero(np.unique(lists))) / n_items


def bootstrap_interval(
    differences: np.ndarray, seed: int, n_samples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of the mean of per-query differences, queries drawn with replacement.

    Args:
        differences: One model's metric minus the other's, per query. Shape (n_queries,).

    Source: Efron & Tibshirani 1993, ch. 13; paired by query as in Sakai 2006.
    """
    if not len(differences):
        raise MetricError("Cannot compute interval", got="queries=0", expected="at least 1", do="Judge on more queries")
    generator = np.random.default_rng(seed)
    n = len(differences)
    means = np.empty(n_samples)
    for sample in range(n_samples):
        means[sample] = differences[generator.integers(0, n, n)].mean()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _check(hits: np.ndarray, n_targets: np.ndarray) -> None:
    if hits.ndim != 2 or hits.shape[1] == 0 or n_targets.shape != (len(hits),) or (n_targets < 1).any():
        raise MetricError(
            "Cannot compute metric",
            got=f"hits={hits.shape}, n_targets={n_targets.shape} (least {n_targets.min(initial=1)})",
            expected="(n, k) and (n,), each query with a target",
            do="Leave queries without targets out",
        )
