"""From scores to lists: the k best items of each user, what was seen left out, and where the targets stand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypedDict, Unpack

import numpy as np

from recommender.fitting.finiteness import finite_scores
from recommender.inputs.ids import PADDING, IdMap
from recommender.inputs.user import UserState

# Whose scores are refused where no part has refused them in its own name.
ANY_RANKER = "a ranker"


class Scores(Protocol):
    """Whatever gives every item of its catalogue a score for each user: models and baselines."""

    @property
    def ids(self) -> IdMap: ...

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Higher is better; -inf never comes back, NaN and +inf never stand here. Shape (B, n_items), float32, in the
        order of `ids`.
        """
        ...


class ListFilters(TypedDict, total=False):
    """What a list may hold, all but seen items by default: the keyword arguments that every ranker's `top_k` takes.

    Attributes:
        exclude: Per user, items that must not come back; unknown ones are no error.
        exclude_seen: Leave out what the user has seen.
        allowed: False for items that may come back to nobody; None allows all. Shape (n_items,), bool.
    """

    exclude: Sequence[Collection[str]] | None
    exclude_seen: bool
    allowed: np.ndarray | None


def leave_out(
    rows: np.ndarray, value: float, users: Sequence[UserState], ids: IdMap, **filters: Unpack[ListFilters]
) -> np.ndarray:
    """Set what the filters leave out of each user's list to a value, in place. Shape (B, n_items)."""
    allowed = filters.get("allowed")
    if allowed is not None:
        rows[:, ~allowed] = value
    for row, excluded in enumerate(filters.get("exclude") or ()):
        if excluded:
            rows[row, [index - 1 for index in ids.known_indices(excluded)]] = value
    if filters.get("exclude_seen", True):
        for row, user in enumerate(users):
            rows[row, user.seen_places(ids)] = value
    return rows


def mask_seen(scores: np.ndarray, users: Sequence[UserState], ids: IdMap) -> np.ndarray:
    """Set what each user has seen to -inf, in place. Shape (B, n_items)."""
    return leave_out(scores, -np.inf, users, ids)


def best_items(
    scores: np.ndarray, users: Sequence[UserState], ids: IdMap, k: int, **filters: Unpack[ListFilters]
) -> list[list[tuple[str, float]]]:
    """The k items of each user with the highest scores, best first; what may not come back is set to -inf in place.

    Args:
        scores: Shape (B, n_items), in the order of the ids; -inf never comes back.
        k: Length of the lists; shorter where fewer items are left.
    Returns:
        Per user, (item id, score) pairs.
    """
    leave_out(scores, -np.inf, users, ids, **filters)
    listed: list[list[tuple[str, float]]] = []
    for row, indices in zip(scores, best_indices(scores, k), strict=True):
        found = indices[indices != PADDING]
        names = ids.names(found.tolist())
        listed.append(list(zip(names, row[found - 1].astype(np.float64).tolist(), strict=True)))
    return listed


def nearest_items(
    ids: IdMap, user: UserState, item_ids: Sequence[str], n: int, likeness: Callable[[list[int], list[int]], np.ndarray]
) -> list[list[tuple[str, float]]]:
    """For each of some items, the n of a history that are most similar to it, best first; the item itself is none.

    Args:
        likeness: From the places of the history's items in the catalogue, from 0, and those of the given items, to how
            similar they are. Shapes (H,) and (N,) -> (N, H).
    Raises:
        UnknownItem: an item is not in the catalogue.
    """
    targets = [index - 1 for index in ids.indices(item_ids)]
    history = [index - 1 for index in ids.known_indices(user.items)]
    if not history or not targets:
        return [[] for _ in targets]
    values = np.array(likeness(history, targets), dtype=np.float32)
    if not set(history).isdisjoint(targets):
        values[np.array(targets)[:, None] == np.array(history)] = -np.inf
    ranked = (-values).argsort(axis=1, kind="stable")[:, :n]
    best = values[np.arange(len(targets))[:, None], ranked]
    names = ids.names([place + 1 for place in history])
    return [
        [(names[place], value) for place, value in zip(places, found, strict=True) if value > -np.inf]
        for places, found in zip(ranked.tolist(), best.tolist(), strict=True)
    ]


def best_indices(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k highest scores of each row, best first; equal scores in the order of their indices.

    So a list of ten is the start of the list of twenty, whatever ties there are.

    Args:
        scores: Shape (B, n_items); -inf never comes back.
    Returns:
        Item indices, from 1; 0 where a row has fewer than k. Shape (B, k), int64.
    Raises:
        NotFinite: a score is NaN or +inf.
    """
    finite_scores(ANY_RANKER, scores, masked=True)
    n_items = scores.shape[1]
    taken = min(k, n_items)
    lists = np.full((len(scores), k), PADDING, dtype=np.int64)
    if not len(scores) or not taken:
        return lists
    least = np.partition(scores, n_items - taken, axis=1)[:, n_items - taken]
    for row, (values, threshold) in enumerate(zip(scores, least.tolist(), strict=True)):
        candidates = (values >= threshold if threshold > -np.inf else values > -np.inf).nonzero()[0]
        best = candidates[(-values[candidates]).argsort(kind="stable")][:taken]
        lists[row, : len(best)] = best + 1
    return lists


def hits_of(scores: np.ndarray, targets: Sequence[Sequence[int]], k: int) -> np.ndarray:
    """At which of the first k places of each row's list, as `best_indices` makes it, a target stands.

    Args:
        scores: Shape (B, n_items); -inf stands on no list.
        targets: Item indices, from 1, of each row.
    Returns:
        Shape (B, k), bool.
    Raises:
        NotFinite: a score is NaN or +inf.
    """
    finite_scores(ANY_RANKER, scores, masked=True)
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
