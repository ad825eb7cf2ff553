"""Ranks the catalogue for users: the sequence model, leaning on popularity and blended with the neighbourhood model as
far as that helped in validation, for those with a history; what is popular, and what the shop tells of them, for the
others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, Protocol

import numpy as np
import torch

from recommender.blend import Blend, ColdItems, standardised
from recommender.ids import PADDING, IdMap
from recommender.inputs import sequence_input
from recommender.item_vectors import ItemVectors
from recommender.neighbours import NeighbourModel
from recommender.newcomers import Newcomers
from recommender.sequence_model import SequenceModel
from recommender.user import UserState

AnsweredBy = Literal["sequence", "neighbours", "text", "profile", "popularity"]
# What put an item on a list.
Part = Literal["sequence", "neighbours", "text", "popularity", "profile"]
ALONE = Blend()
NO_COLD_ITEMS = ColdItems()


class Scores(Protocol):
    """Whatever gives every item of its catalogue a score for each user: models and baselines alike."""

    @property
    def ids(self) -> IdMap: ...

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        """Higher is better; -inf never comes back. Shape (B, n_items), float32, in the order of `ids`."""
        ...


class Ranker:
    """The item vectors and the sequence model, ready to answer.

    Args:
        vectors: Catalogue, ids and text vectors.
        model: Trained with these vectors.
        neighbours: Trained with the same ids; None where the blend is of kind "none".
        blend: How much the neighbours count.
        cold: How items that no event taught are ranked.
        newcomers: How users without a known history are answered; None counts events.
    """

    def __init__(
        self,
        vectors: ItemVectors,
        model: SequenceModel,
        neighbours: NeighbourModel | None = None,
        blend: Blend = ALONE,
        cold: ColdItems = NO_COLD_ITEMS,
        newcomers: Newcomers | None = None,
    ) -> None:
        self.neighbours, self.blend, self.cold, self.newcomers = neighbours, blend, cold, newcomers
        self.vectors = vectors
        self.model = model.eval()
        with torch.inference_mode():
            self._items = model.item_vectors()[1:].contiguous()  # (n_items, D)
            self._directions = torch.nn.functional.normalize(self._items, dim=-1)
        self._popularity = vectors.catalogue.n_events
        self._unlearned = ~model.learned[1:].numpy()
        counts = np.where(self._unlearned, 0, self._popularity)
        self._prior = np.float32(float(model.popularity_weight)) * np.log1p(counts).astype(np.float32)
        self._ranks_cold = not cold.says_nothing and bool(self._unlearned.any())

    @property
    def ids(self) -> IdMap:
        return self.vectors.ids

    def knows(self, user: UserState) -> bool:
        """Whether an item of the user's history is in the catalogue: without one it is a cold start."""
        return any(item in self.ids for item in user.items)

    def answered_by(self, user: UserState) -> AnsweredBy:
        """Who ranks for this user: where no item of the history is known the profile, or popularity alone."""
        if self.knows(user):
            return "sequence"
        return "profile" if self.newcomers is not None and self.newcomers.reads(user) else "popularity"

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Score every item for each user, in one forward pass.

        Returns:
            Shape (B, n_items), float32, in the order of the id map; seen items are -inf. A user without a known
            history gets what `newcomers` says; the others the sum of `parts`. So scores compare within a user only.
        """
        history = sequence_input(users, self.ids, self.model.shape.max_history)
        warm = (history[:, -1] != PADDING).numpy()
        scores = np.empty((len(users), len(self.ids)), dtype=np.float32)
        scores[~warm] = self._answer_newcomers([user for user, known in zip(users, warm, strict=True) if not known])
        if warm.any():
            known = [self.ids.known_indices(user.items) for user, is_warm in zip(users, warm, strict=True) if is_warm]
            first, *others = self._parts(history[warm], known).values()
            scores[warm] = sum(others, first)
        return mask_seen(scores, users, self.ids) if exclude_seen else scores

    def parts_of(self, user: UserState, item_ids: Sequence[str]) -> list[Part]:
        """For each item, the part whose share of its score stands out most.

        Raises:
            UnknownItem: an item is not in the catalogue.
        """
        places = [self.ids.index(item_id) - 1 for item_id in item_ids]
        answered_by = self.answered_by(user)
        if answered_by == "popularity":
            return ["popularity"] * len(places)
        parts = self.parts([user]) if answered_by == "sequence" else self._newcomer_parts(user)
        return [max(parts, key=lambda part: float(parts[part][0, place])) for place in places]

    def parts(self, users: Sequence[UserState]) -> dict[Part, np.ndarray]:
        """What each part adds to the scores of users with a known history. Shapes (B, n_items), float32.

        The sequence model's are dot products, plus its popularity weight times log(1 + count). Where another part
        counts they are standardised per user, and so are the neighbours', times their weight. Of items that no event
        taught, the neighbours know nothing, and the text adds its cosine times a weight, and the lift.
        """
        history = sequence_input(users, self.ids, self.model.shape.max_history)
        return self._parts(history, [self.ids.known_indices(user.items) for user in users])

    def _parts(self, history: torch.Tensor, known: list[list[int]]) -> dict[Part, np.ndarray]:
        with torch.inference_mode():
            sequence = (self.model.expect(history) @ self._items.T).numpy() + self._prior
        weights = self.blend.weights(np.array([len(indices) for indices in known]))
        blends = self.neighbours is not None and bool(weights.any())
        if not (blends or self._ranks_cold):
            return {"sequence": sequence}
        parts: dict[Part, np.ndarray] = {"sequence": standardised(sequence)}
        if self.neighbours is not None and blends:
            parts["neighbours"] = weights[:, None] * standardised(self.neighbours.scores(known))
        if self._ranks_cold:
            if blends:
                parts["neighbours"][:, self._unlearned] = 0.0
            profiles = np.stack([self.vectors.profile(indices) for indices in known])
            parts["text"] = np.zeros_like(sequence)
            cosines = profiles @ self.vectors.text[1:].numpy()[self._unlearned].T
            parts["text"][:, self._unlearned] = self.cold.text_weight * cosines + self.cold.lift
        return parts

    def _answer_newcomers(self, users: Sequence[UserState]) -> np.ndarray:
        return self._popularity if self.newcomers is None else self.newcomers.scores(users)

    def _newcomer_parts(self, user: UserState) -> dict[Part, np.ndarray]:
        """Of a user whose profile is read. Shares are held against their mean, as the profile is by itself."""
        assert self.newcomers is not None
        shares, profile = self.newcomers.parts([user])
        return {"popularity": shares - shares.mean(), "profile": profile}

    def top_k(
        self,
        users: Sequence[UserState],
        k: int,
        exclude: Sequence[Collection[str]] | None = None,
        exclude_seen: bool = True,
        allowed: np.ndarray | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The best items of each user, best first.

        Args:
            users: Those without a known history are answered by what is known of them; see `answered_by`.
            k: Length of the lists; shorter where fewer items are left.
            exclude: Per user, items that must not come back; unknown ones are no error.
            exclude_seen: Leave out what the user has seen.
            allowed: False for items that may come back to nobody; None allows all. Shape (n_items,), bool.
        Returns:
            Per user, (item id, score) pairs.
        """
        scores = self.scores(users, exclude_seen=exclude_seen)
        return best_items(scores, self.ids, k, exclude, allowed)

    def nearest_history(self, user: UserState, item_id: str, n: int) -> list[tuple[str, float]]:
        """The items of the history that are most like an item: the reasons for it.

        Returns:
            At most n (item id, cosine in the model's item vectors) pairs, most alike first.
        Raises:
            UnknownItem: the item is not in the catalogue.
        """

        def cosines(history: list[int], target: int) -> list[float]:
            found: list[float] = (self._directions[history] @ self._directions[target]).tolist()
            return found

        return nearest_items(self.ids, user, item_id, n, cosines)


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
    """The n items of a history that are most like an item, most alike first; the item itself is none of them.

    Args:
        likeness: From places of items in the catalogue, from 0, none of them the item's own, and the item's place, to
            how alike each is to it.
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
