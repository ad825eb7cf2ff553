"""Choosing a list out of a pool, one item after the other: by maximal marginal relevance, or by calibration."""

from __future__ import annotations

import numpy as np

# A list without one of the categories that the user knows would be infinitely far from them: Steck's alpha.
SMOOTHING = 0.01


def choose_varied(relevance: np.ndarray, similarity: np.ndarray, strength: float, k: int) -> list[int]:
    """Maximal marginal relevance: each next item has the highest (1 - s) * relevance - s * max similarity to the list.

    Args:
        relevance: 0 to 1, best first. Shape (P,).
        similarity: Shape (P, P).
        strength: s.
    Returns:
        min(k, P) places of the pool, in order; of equal values the earlier place.

    >>> choose_varied(np.array([1.0, 0.9, 0.0]), np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), 0.6, 2)
    [0, 2]

    Source: Carbonell & Goldstein 1998, The use of MMR; their lambda is 1 - s.
    """
    values = (1 - strength) * relevance.astype(np.float64)
    nearest = np.full(len(values), -np.inf)
    chosen: list[int] = []
    for _ in range(min(k, len(values))):
        gain = values if not chosen else values - strength * nearest
        place = int(gain.argmax())
        chosen.append(place)
        values[place] = -np.inf
        np.maximum(nearest, similarity[place], out=nearest)
    return chosen


def choose_calibrated(
    relevance: np.ndarray, categories: np.ndarray, taste: np.ndarray, strength: float, k: int
) -> list[int]:
    """Each next item makes (1 - s) * sum of relevance - s * KL(taste || the list's categories) the highest.

    Args:
        relevance: 0 to 1, best first. Shape (P,).
        categories: Of each item of the pool, -1 without one. Shape (P,).
        taste: The wanted share of each category. Shape (n_categories,).
        strength: s.
    Returns:
        min(k, P) places of the pool, in order; of equal values the earlier place.

    >>> choose_calibrated(np.array([1.0, 0.9, 0.8]), np.array([0, 0, 1]), np.array([0.5, 0.5]), 0.5, 2)
    [0, 2]

    Source: Steck 2018, Calibrated recommendations.
    """
    values = (1 - strength) * relevance.astype(np.float64)
    counts = np.zeros(len(taste))
    chosen: list[int] = []
    known = categories >= 0
    for length in range(1, min(k, len(values)) + 1):
        now, then = _terms(taste, counts, length), _terms(taste, counts + 1, length)
        # The sum over the categories changes in one term where an item joins.
        divergence = np.full(len(values), now.sum())
        divergence[known] += (then - now)[categories[known]]
        place = int((values - strength * divergence).argmax())
        chosen.append(place)
        values[place] = -np.inf
        if known[place]:
            counts[categories[place]] += 1
    return chosen


def divergence(taste: np.ndarray, counts: np.ndarray, length: int) -> float:
    """KL(taste || the list's categories), the latter smoothed towards the taste; 0 where the taste is empty.

    Args:
        taste: Shape (n_categories,).
        counts: Of the list's items in each category. Shape (n_categories,).
        length: Of the list.

    >>> divergence(np.array([0.5, 0.5]), np.array([1, 1]), 2)
    0.0
    """
    return max(float(_terms(taste, counts, length).sum()), 0.0) if length else 0.0


def _terms(taste: np.ndarray, counts: np.ndarray, length: int) -> np.ndarray:
    """taste * log(taste / smoothed share) of each category. Shape (n_categories,)."""
    smoothed = (1 - SMOOTHING) * counts / length + SMOOTHING * taste
    there = taste > 0
    terms = np.zeros(len(taste))
    terms[there] = taste[there] * np.log(taste[there] / smoothed[there])
    return terms
