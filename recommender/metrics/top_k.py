"""From scores to lists: the k best items of each user, what was seen left out, and where the targets stand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from recommender.inputs.ids import PADDING, IdMap
from recommender.inputs.user import UserState


class Scores(Protocol):
    """Whatever gives every item of its catalogue a score for each user: models and baselines."""

    @property
    def ids(self) -> IdMap: ...

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Higher is better; -inf never comes back. Shape (B, n_items), float32, in the order of `ids`."""
        ...


def mask_seen(scores: np.ndarray, users: Sequence[UserState], ids: IdMap) -> np.ndarray:
    """Set what each user has seen to -inf, in place. Shape (B, n_items)."""
    for row, user in enumerate(users):
        scores[row, user.seen_places(ids)] = -np.inf
    return scores


def best_items(
    scores: np.ndarray,
    ids: IdMap,
    k: int,
    exclude: Sequence[Collection[str]] | None = None,
    allowed: np.ndarray | None = None,
) -> list[list[tuple[str, float]]]:
    """The k items of each row with the highest scores, best first; what may not come back is set to -inf in place.

    Args:
        scores: Shape (B, n_items), in the order of the ids; -inf never comes back.
        exclude: Per row, items that must not come back; unknown ones are no error.
        allowed: False for items that may come back in no row; None allows all. Shape (n_items,), bool.
    Returns:
        Per row, (item id, score) pairs.
    """
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    for row, excluded in enumerate(exclude or ()):
        scores[row, [index - 1 for index in ids.known_indices(excluded)]] = -np.inf
    return [
        [(ids.item_id(int(index)), float(scores[row, index - 1])) for index in indices if index != PADDING]
        for row, indices in enumerate(best_indices(scores, k))
    ]


def nearest_items(
    ids: IdMap, user: UserState, item_id: str, n: int, likeness: Callable[[list[int], int], Sequence[float]]
) -> list[tuple[str, float]]:
    """The n items of a history that are most similar to an item, most similar first; the item itself is none of them.

    Args:
        likeness: From places of items in the catalogue, from 0, none of them the item's own, and the item's place, to
            how similar each is to it.
    """
    target = ids.index(item_id) - 1
    history = [index - 1 for index in ids.known_indices(user.items) if index - 1 != target]
    if not history:
        return []
    ranked = sorted(zip(history, likeness(history, target), strict=True), key=lambda pair: -pair[1])[:n]
    return [(ids.item_id(place + 1), value) for place, value in ranked]


def best_indices(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k highest scores of each row, best first; equal scores in the order of their indices.

    So a list of ten is the start of the list of twenty, whatever ties there are.

    Args:
        scores: Shape (B, n_items); -inf never comes back.
    Returns:
        Item indices, from 1; 0 where a row has fewer than k. Shape (B, k), int64.
    """
    n_items = scores.shape[1]
    taken = min(k, n_items)
    lists = np.full((len(scores), k), PADDING, dtype=np.int64)
    if not len(scores) or not taken:
        return lists
    least = np.partition(scores, n_items - taken, axis=1)[:, n_items - taken]
    for row, threshold in enumerate(least):
        candidates = np.flatnonzero((scores[row] >= threshold) & (scores[row] > -np.inf))
        best = candidates[np.argsort(-scores[row, candidates], kind="stable")][:taken]
        lists[row, : len(best)] = best + 1
    return lists


def hits_of(scores: np.ndarray, targets: Sequence[Sequence[int]], k: int) -> np.ndarray:
    """At which of the first k places of each row's list, as `best_indices` makes it, a target stands.

    Args:
        scores: Shape (B, n_items); -inf stands on no list.
        targets: Item indices, from 1, of each row.
    Returns:
        Shape (B, k), bool.
    """
    hits = np.zeros((len(scores), k), dtype=bool)
    for row, (values, wanted) in enumerate(zip(scores, targets, strict=True)):
        for target in wanted:
            score = values[target - 1]
            if score == -np.inf:
                continue
            place = np.count_nonzero(values > score)
            if place < k:
                place += np.count_nonzero(values[: target - 1] == score)
            if place < k:
                hits[row, place] = True
    return hits
