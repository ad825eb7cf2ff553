"""Ranks the catalogue for users: the blend of all parts, as it was chosen on validation, for those with a history;
popularity, and users with similar attributes, for the others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, Unpack

import numpy as np
import torch

from core.stages import stage
from recommender.fitting.finiteness import finite_scores
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.sequences import sequence_input
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters, best_items, mask_seen, nearest_items
from recommender.ranking.blend import Blend, ColdItems, standardised
from recommender.ranking.candidate_features import Describer
from recommender.ranking.candidates import union_of
from recommender.ranking.cold_users import ColdUsers
from recommender.ranking.correction import Correction, correct
from recommender.ranking.parts import LEARNED_BY_EVENTS, RECENT, Asked, Part, Retriever, shown_as
from recommender.retrieval.sequence.answering import MOST_USERS, SequenceAnswers
from recommender.retrieval.sequence.model import AnySequenceModel

AnsweredBy = Literal["sequence", "neighbours", "text", "profile", "popularity"]
# What the parts are called where their scores are refused.
SEQUENCE, TEXT, COLD = "sequence model", "item texts", "cold-start users' weights"
ALONE = Blend()
NO_COLD_ITEMS = ColdItems()
Found = TypeVar("Found")
NO_PARTS: Mapping[str, Retriever] = {}


@dataclass(frozen=True)
class PartScores:
    """What the parts make of users with a known history.

    Attributes:
        asked: The users.
        added: What each part adds to their scores. Shapes (B, n_items), float32.
        standard: Of every part, standardised, where a correction reads them; else none.
    """

    asked: Asked
    added: dict[str, np.ndarray]
    standard: dict[str, np.ndarray]

    def of(self, row: int) -> PartScores:
        """The same of one of the users."""
        added, standard = (
            {name: scores[row : row + 1] for name, scores in one.items()} for one in (self.added, self.standard)
        )
        return PartScores(self.asked.of_one(row), added, standard)


class Ranker:
    """The item vectors and the sequence model, ready to answer.

    Args:
        vectors: Catalogue, ids and text vectors.
        model: Trained with these vectors.
        parts: Fitted with the same ids; at least those that the blend counts, beside the sequence model.
        blend: How much each part counts.
        cold: How items that no event taught are ranked.
        cold_users: How cold-start users are ranked; None counts events.
        held_out: Items whose events no part is to know of; none by default. Shape (n_items,), bool.

    Attributes:
        items: The sequence model's vectors of the items. Shape (n_items, D), float32.
        prior: What its scores have beside the products with them. Shape (n_items,), float32.
        unlearned: Items that no event taught: those of one-item customers alone may have many. Shape (n_items,), bool.
        held_out: Items whose events no part knows of. Shape (n_items,), bool.
        ranks_cold: Whether items that no event taught are ranked apart.
    """

    def __init__(
        self,
        vectors: ItemVectors,
        model: AnySequenceModel,
        parts: Mapping[str, Retriever] = NO_PARTS,
        blend: Blend = ALONE,
        cold: ColdItems = NO_COLD_ITEMS,
        cold_users: ColdUsers | None = None,
        held_out: np.ndarray | None = None,
    ) -> None:
        self.retrievers, self.blend, self.cold, self.cold_users = parts, blend, cold, cold_users
        self.vectors = vectors
        self.model = model.eval()
        with torch.inference_mode():
            self._answers = [SequenceAnswers(member) for member in model.members]
            alone = self._answers[0].table if len(self._answers) == 1 else None
            self.items = (model.item_vectors() if alone is None else alone)[1:]  # (n_items, D)
            self._lengths = torch.linalg.vector_norm(self.items, dim=-1).clamp_min(1e-12)
        self._popularity = vectors.catalogue.n_events
        self.correction: Correction | None = None
        self._user: UserState | None = None
        self._computed: dict[str, Any] = {}
        self.unlearned = ~model.learned[1:].cpu().numpy()
        self.held_out = np.zeros_like(self.unlearned) if held_out is None else held_out
        counts = np.where(self.held_out, 0, self._popularity)
        self.prior = np.float32(float(model.popularity_weight)) * np.log1p(counts).astype(np.float32)
        self.ranks_cold = not cold.changes_nothing and bool(self.unlearned.any())

    def corrected(self, correction: Correction | None) -> Ranker:
        """The same, whose blend is corrected by what reads `describer`; None leaves it as it is.

        Of each part the best `blend.candidates` items are corrected; all others follow below, but for those that no
        event taught where `cold` ranks them: they stand where it puts them.
        """
        other = copy.copy(self)
        other.correction = correction
        return other

    def for_one(self, user: UserState) -> Ranker:
        """The same for one request: what the parts make of this user is computed once, for the list and for `parts_of`.

        It is for one thread.
        """
        if self.correction is not None:
            self.describer  # noqa: B018 (worked out here, or it would be for each request)
        if self.ranks_cold:
            self.cold_text  # noqa: B018
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._user, other._computed = user, {}
        return other

    def for_each(self, users: Sequence[UserState]) -> list[Ranker]:
        """`for_one` of each of some users who ask together: what the parts make of them is computed in one pass."""
        rankers = [self.for_one(user) for user in users]
        known = [place for place, user in enumerate(users) if self.knows(user)]
        if len(known) > 1:
            found = self._compute_part_scores([users[place] for place in known])
            for row, place in enumerate(known):
                rankers[place]._computed["known"] = found.of(row)
        return rankers

    @property
    def tables(self) -> list[torch.Tensor]:
        """What each of the sequence models looks items up in, padding first. Shapes (n_items + 1, d)."""
        return [one.table for one in self._answers]

    def with_tables(self, tables: Sequence[torch.Tensor], items: torch.Tensor) -> Ranker:
        """The same, which looks the same numbers up in other places of the memory.

        Args:
            tables: In place of `tables`.
            items: In place of `items`.
        """
        other = copy.copy(self)
        other._answers = [one.with_table(table) for one, table in zip(self._answers, tables, strict=True)]
        other.items = items
        return other

    @cached_property
    def describer(self) -> Describer:
        """Of the candidates of all parts."""
        return Describer(self.vectors, self.unlearned, self.part_names)

    @property
    def part_names(self) -> tuple[str, ...]:
        """The sequence model, and every part beside it."""
        return ("sequence", *self.retrievers)

    @property
    def reads_items_then(self) -> bool:
        """Whether the features of the items at the moment of asking are read."""
        of_cold_users = self.cold_users is not None and self.cold_users.reads_items_then
        return self.correction is not None or of_cold_users or any(part.startswith(RECENT) for part in self.blend.parts)

    @property
    def ids(self) -> IdMap:
        return self.vectors.ids

    def knows(self, user: UserState) -> bool:
        """Whether an item of the user's history is in the catalogue: without one it is a cold start."""
        return self.ids.knows_any(user.items)

    def answered_by(self, user: UserState) -> AnsweredBy:
        """Who ranks for this user: where no item of the history is known the profile, or popularity alone."""
        if self.knows(user):
            return "sequence"
        return "profile" if self.cold_users is not None and self.cold_users.reads(user) else "popularity"

    def scores(self, users: Sequence[UserState], exclude_seen: bool = True) -> np.ndarray:
        """Score every item for each user, in one forward pass.

        Returns:
            Shape (B, n_items), float32, in the order of the id map; seen items are -inf. A user without a known
            history gets those of `cold_users`; the others the sum of `parts`, and what a correction adds to the best
            of each part. So scores compare within a user only.
        """
        scores = self._scores(users, exclude_seen)
        return mask_seen(scores, users, self.ids) if exclude_seen else scores

    def _scores(self, users: Sequence[UserState], exclude_seen: bool) -> np.ndarray:
        """As `scores`, before seen items are -inf; a new array."""
        warm = np.array([self.knows(user) for user in users], dtype=bool)
        if warm.all() and len(users):
            return self._score_known(users, exclude_seen)
        scores = np.empty((len(users), len(self.ids)), dtype=np.float32)
        scores[~warm] = self._answer_cold_users([user for user, known in zip(users, warm, strict=True) if not known])
        if warm.any():
            known = [user for user, is_warm in zip(users, warm, strict=True) if is_warm]
            scores[warm] = self._score_known(known, exclude_seen)
        return scores

    def parts_of(self, user: UserState, item_ids: Sequence[str]) -> list[Part]:
        """For each item, the part whose share of its score stands out most.

        Raises:
            UnknownItem: an item is not in the catalogue.
        """
        places = [index - 1 for index in self.ids.indices(item_ids)]
        answered_by = self.answered_by(user)
        if answered_by == "popularity":
            return ["popularity"] * len(places)
        parts = self.parts([user]) if answered_by == "sequence" else self._cold_user_parts(user)
        shown = [shown_as(part) for part in parts]
        added = np.array([scores[0, places] for scores in parts.values()])
        return [shown[part] for part in added.argmax(axis=0).tolist()]

    def parts(self, users: Sequence[UserState]) -> dict[str, np.ndarray]:
        """What each part adds to the scores of users with a known history. Shapes (B, n_items), float32.

        The sequence model's alone are dot products, plus its popularity weight times log(1 + count). Where another
        part counts all are standardised per user, times their weights. Of items that no event taught, parts that learn
        from events alone know nothing, and the text adds its cosine times a weight, and the lift.

        Raises:
            NotFinite: names the part whose scores are not finite.
        """
        return self._part_scores(users).added

    def _part_scores(self, users: Sequence[UserState]) -> PartScores:
        return self._once("known", users, self._compute_part_scores)

    def _compute_part_scores(self, users: Sequence[UserState]) -> PartScores:
        with stage("retrieve"):
            return self._scores_of_parts(users)

    def _scores_of_parts(self, users: Sequence[UserState]) -> PartScores:
        asked = Asked.of(users, self.ids)
        if self.blend.is_sequence_alone and not self.ranks_cold and self.correction is None:
            return PartScores(asked, {"sequence": finite_scores(SEQUENCE, self._sequence_scores(users))}, {})
        is_corrected = self.correction is not None
        standard = self._standard(asked, self.part_names if is_corrected else self.blend.parts)
        added = self._with_cold(asked, self.blend.shares(standard, asked.lengths))
        return PartScores(asked, added, standard if is_corrected else {})

    def _once(self, what: str, users: Sequence[UserState], compute: Callable[[Sequence[UserState]], Found]) -> Found:
        """Compute something of users, or look it up where it is of the one user whom this ranker is for."""
        if len(users) != 1 or users[0] is not self._user:
            return compute(users)
        if what not in self._computed:
            self._computed[what] = compute(users)
        found: Found = self._computed[what]
        return found

    def _score_known(self, users: Sequence[UserState], exclude_seen: bool) -> np.ndarray:
        """Of users with a known history. Shape (B, n_items), float32."""
        found = self._part_scores(users)
        first, *others = found.added.values()
        # A new array: what a user's parts add may be asked for again.
        scores: np.ndarray = sum(others, first.copy())
        stay = self.unlearned & self.ranks_cold
        for row, (candidates, added) in enumerate(self._corrections(found, exclude_seen)):
            correct(scores[row], candidates, added, stay)
        return scores

    def corrections(self, users: Sequence[UserState]) -> list[tuple[np.ndarray, np.ndarray]]:
        """The candidates of each user with a known history, and what the correction adds to them; none without one.

        Returns:
            Places, from 0, and what is added to their scores, seen items left out. Shapes (C,), int64 and float32.
        """
        return [] if self.correction is None else list(self._corrections(self._part_scores(users), exclude_seen=True))

    def _corrections(self, found: PartScores, exclude_seen: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `corrections`."""
        if self.correction is None:
            return
        for row, user in enumerate(found.asked.users):
            by_part = np.stack([found.standard[name][row] for name in self.part_names])
            seen = user.seen_places(self.ids) if exclude_seen else np.zeros(0, dtype=np.int64)
            union = union_of(by_part, seen, self.blend.candidates)
            n_known = len(found.asked.histories[row])
            yield union, self.correction.added(self.describer.describe(user, n_known, union, by_part[:, union].T))

    def _with_cold(self, asked: Asked, shares: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The shares, and what is added to items that no event taught."""
        if self.ranks_cold:
            added = np.zeros((len(asked.users), len(self.ids)), dtype=np.float32)
            added[:, self.unlearned] = self.cold.part(finite_scores(TEXT, self.cold_cosines(asked)))
            shares["text"] = shares["text"] + added if "text" in shares else added
        return shares

    def shares(self, asked: Asked) -> dict[str, np.ndarray]:
        """What each part that counts adds, before anything is added for items that no event taught."""
        return self.blend.shares(self._standard(asked, self.blend.parts), asked.lengths)

    def cold_cosines(self, asked: Asked) -> np.ndarray:
        """Of the texts of items that no event taught to the histories'. Shape (B, n_cold), float32.

        By the encoder as it came: a fine-tuned one has learned from the events of the items that are held out as cold
        where their weight is chosen, and would be trusted too much.
        """
        profiles = np.array([self.vectors.profile(history, tuned=False) for history in asked.histories])
        cosines: np.ndarray = profiles @ self.cold_text.T
        return cosines

    @cached_property
    def cold_text(self) -> np.ndarray:
        """Of items that no event taught. Shape (n_cold, D)."""
        rows: np.ndarray = self.vectors.text[1:].numpy()[self.unlearned]
        return rows

    def standard_scores(self, users: Sequence[UserState], names: Sequence[str]) -> dict[str, np.ndarray]:
        """What parts make of every item, for users with a known history: per user less the mean, by the deviation.

        Returns:
            Shapes (B, n_items), float32.
        """
        return self._standard(Asked.of(users, self.ids), names)

    def _standard(self, asked: Asked, names: Sequence[str]) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name in names:
            if name == "sequence":
                found[name] = standardised(self._sequence_scores(asked.users), SEQUENCE)
                continue
            scores = self.retrievers[name].scores(asked)
            if name != "text" and self.held_out.any():
                scores[:, self.held_out] = 0.0
            found[name] = standardised(scores, TEXT if name == "text" else name)
            if name in LEARNED_BY_EVENTS:
                found[name][:, self.unlearned] = 0.0
        return found

    def _sequence_scores(self, users: Sequence[UserState]) -> np.ndarray:
        with torch.inference_mode():
            scores: np.ndarray = (self.expect(users) @ self.items.T).cpu().numpy() + self.prior
        return scores

    def expect(self, users: Sequence[UserState]) -> torch.Tensor:
        """What the sequence model expects of users with a known history. Shape (B, D)."""
        history = sequence_input(users, self.ids, self.model.shape.max_history).to(self.items.device)
        if len(users) > MOST_USERS:
            return self.model.expect(history)
        return torch.cat([one.expect(history) for one in self._answers], dim=-1)

    def _answer_cold_users(self, users: Sequence[UserState]) -> np.ndarray:
        if self.cold_users is None:
            return self._popularity
        shares, profile = self._once("cold", users, self.cold_users.parts)
        return finite_scores(COLD, shares + profile)

    def _cold_user_parts(self, user: UserState) -> dict[str, np.ndarray]:
        """Of a user whose profile is read. Shares are held against their mean, as the profile is by itself."""
        assert self.cold_users is not None
        shares, profile = self._once("cold", [user], self.cold_users.parts)
        return {"popularity": shares - shares.mean(), "profile": profile}

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """The best items of each user, as `best_items` gives them, by `scores`."""
        with stage("rank"):
            scores = self._scores(users, exclude_seen=filters.get("exclude_seen", True))
            return best_items(scores, users, self.ids, k, **filters)

    def nearest_history(self, user: UserState, item_id: str, n: int) -> list[tuple[str, float]]:
        """The items of the history that are most like an item: the reasons for it.

        Returns:
            At most n (item id, cosine in the model's item vectors) pairs, most similar first.
        Raises:
            UnknownItem: the item is not in the catalogue.
        """
        return self.nearest_histories(user, [item_id], n)[0]

    def nearest_histories(self, user: UserState, item_ids: Sequence[str], n: int) -> list[list[tuple[str, float]]]:
        """`nearest_history` of each of some items, by one product of matrices."""

        def cosines(history: list[int], targets: list[int]) -> np.ndarray:
            directions = self._directions([*targets, *history])
            found: np.ndarray = directions[: len(targets)] @ directions[len(targets) :].T
            return found

        return nearest_items(self.ids, user, item_ids, n, cosines)

    def similarities(self, item_id: str) -> np.ndarray | None:
        """How like an item every item is: the cosine in the model's item vectors. Shape (n_items,), float32.

        Raises:
            UnknownItem: the item is not in the catalogue.
        """
        with torch.inference_mode():
            place = self.ids.index(item_id) - 1
            direction = self.items[place] / self._lengths[place]
            cosines: np.ndarray = (self.items @ direction / self._lengths).cpu().numpy()
        return finite_scores(SEQUENCE, cosines)

    def _directions(self, places: Sequence[int]) -> np.ndarray:
        """The vectors of items at some places, of length 1. Shape (N, D), float32."""
        rows = np.array(places, dtype=np.int64)
        if self.items.is_cpu:  # a few rows are looked up in NumPy in a fraction of the time
            found: np.ndarray = self.items.numpy()[rows] / self._lengths.numpy()[rows, None]
        else:
            found = (self.items[rows] / self._lengths[rows].unsqueeze(-1)).cpu().numpy()
        return found

    def user_vectors(self, users: Sequence[UserState]) -> np.ndarray | None:
        """What the sequence model expects of users with a known history, of length 1. Shape (B, D), float32."""
        history = sequence_input(users, self.ids, self.model.shape.max_history)
        with torch.inference_mode():
            expected = torch.nn.functional.normalize(self.model.expect(history.to(self.items.device)), dim=-1)
            vectors: np.ndarray = expected.cpu().numpy()
        return finite_scores(SEQUENCE, vectors)
