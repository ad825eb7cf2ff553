"""Measures of recommended lists beyond hits: how varied, how unexpected, and how far they follow popularity.

`lists` are item indices from 1, 0 where a list is short, shape (n_queries, k). Means run over the items that are there;
a list with none (or, of pairs, with fewer than two) measures 0. Row i of `text` and of `n_events` is item i.
"""

from __future__ import annotations

import numpy as np

from recommender.inputs.ids import PADDING

_LISTS_PER_PASS = 1024


def diversity(lists: np.ndarray, text: np.ndarray) -> np.ndarray:
    """1 - the mean cosine of all pairs of a list (intra-list diversity); an item without words is unlike every other.

    Args:
        text: Vectors of length 1, zeros where there are no words. Shape (n_items + 1, D).

    >>> diversity(np.array([[1, 2], [1, 3], [1, 0]]), np.array([[0, 0], [1, 0], [0, 1], [1, 0]]))
    array([1., 0., 0.])

    Source: Ziegler et al. 2005. Of m vectors the pairs' cosines sum to (|sum v|^2 - sum |v|^2) / 2.
    """
    values = np.zeros(len(lists))
    for start in range(0, len(lists), _LISTS_PER_PASS):
        part = lists[start : start + _LISTS_PER_PASS]
        vectors = text[part]  # (B, k, D)
        similarity = np.square(vectors.sum(axis=1)).sum(axis=1) - np.square(vectors).sum(axis=(1, 2))
        length = (part != PADDING).sum(axis=1)
        values[start : start + _LISTS_PER_PASS] = np.where(
            length > 1, 1 - similarity / np.maximum(length * (length - 1), 1), 0.0
        )
    return values


def novelty(lists: np.ndarray, n_events: np.ndarray) -> np.ndarray:
    """Mean self-information of a list's items, bits: -log2 p(i), p(i) = (events of i + 1) / (all events + n_items).

    One is added to each count, so that an item which nobody ever took is finitely surprising.

    Args:
        n_events: Training events of each item, row 0 is padding. Shape (n_items + 1,).

    >>> novelty(np.array([[1, 2]]), np.array([0, 3, 0, 0, 0]))  # p = 4/7 and 1/7
    array([1.80735492])

    Source: Zhou et al. 2010, Solving the apparent diversity-accuracy dilemma.
    """
    chance = (n_events + 1) / (n_events[1:].sum() + len(n_events) - 1)
    return _mean(lists, -np.log2(chance))


def mean_popularity(lists: np.ndarray, n_events: np.ndarray) -> np.ndarray:
    """Mean training events of a list's items (average recommendation popularity).

    >>> mean_popularity(np.array([[1, 2], [2, 0]]), np.array([0, 4, 10]))
    array([ 7., 10.])

    Source: Yin et al. 2012; Abdollahpouri et al. 2019.
    """
    return _mean(lists, n_events)


def serendipity(lists: np.ndarray, hits: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Hits that popularity would not have named, by k: |{i in list: i is a target, i not in the expected list}| / k.

    Args:
        hits: Whether the item at each place is a target. Shape (n_queries, k), bool.
        expected: What a primitive recommender, here popularity, names for the same users. Shape (n_queries, any).

    >>> serendipity(np.array([[1, 2, 3, 4]]), np.array([[True, True, False, False]]), np.array([[1, 9]]))
    array([0.25])

    Source: Ge, Delgado-Battenfeld & Jannach 2010, Beyond Accuracy.
    """
    unexpected = ~(lists[:, :, None] == expected[:, None, :]).any(axis=2)
    surprising: np.ndarray = (hits & unexpected).mean(axis=1)
    return surprising


def coverage(lists: np.ndarray, n_items: int) -> float:
    """Share of the catalogue that stands in at least one list.

    >>> coverage(np.array([[1, 2], [2, 0]]), n_items=4)
    0.5
    """
    return int(np.count_nonzero(np.unique(lists))) / n_items


def gini(lists: np.ndarray, n_items: int) -> float:
    """How unequally the places of all lists fall to the catalogue: 0 where evenly, towards 1 where
    all to one item.

    sum_j (2 j - n - 1) x_j / (n sum x), with x_1 <= ... <= x_n how often each item is recommended.

    >>> gini(np.array([[1, 2], [3, 4]]), n_items=4), gini(np.array([[1], [1]]), n_items=4)
    (0.0, 0.75)

    Source: Adomavicius & Kwon 2012, Improving Aggregate Recommendation Diversity.
    """
    shown = np.sort(np.bincount(lists[lists != PADDING].ravel(), minlength=n_items + 1)[1:])
    if not shown.sum():
        return 0.0
    places = np.arange(1, n_items + 1)
    return float(((2 * places - n_items - 1) * shown).sum() / (n_items * shown.sum()))


def _mean(lists: np.ndarray, values: np.ndarray) -> np.ndarray:
    there = lists != PADDING
    means: np.ndarray = np.where(there, values[lists], 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return means
