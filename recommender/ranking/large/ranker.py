"""Ranks a large catalogue: each part finds its best items by an index, and the blend ranks what the parts found.

It answers as the `Ranker` that it is made of, but for the items that no part found; how many these are is measured by
`python -m benchmarks.serving_load.catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch

from core.stages import stage
from recommender.fitting.finiteness import finite_scores
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters
from recommender.ranking.blend import least_spread
from recommender.ranking.correction import correct
from recommender.ranking.large.nearest import Allowed, NearestRows
from recommender.ranking.large.parts import AskedOne, PartAtPlaces
from recommender.ranking.parts import LEARNED_BY_EVENTS, Asked, Part, shown_as
from recommender.ranking.ranker import COLD, SEQUENCE, TEXT, Ranker

# Of each part so many times the length of a list are looked at, and at least so many.
_TIMES_K, _AT_LEAST = 5, 1000
# A longer list is ranked by all scores, as is one that is cut out of fewer items, whose scores are few.
MOST_PLACES = 2000
FEW_ITEMS = 20_000
NONE_HIDDEN = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class ColdText:
    """Items that no event taught, found by their texts.

    Attributes:
        index: Of their vectors alone.
        places: Of them in the catalogue, ascending. Shape (n_cold,), int64.
    """

    index: NearestRows
    places: np.ndarray

    def best(self, profile: np.ndarray, n: int, allowed: Allowed) -> np.ndarray:
        """Places of the n nearest of them."""
        mask = None if allowed.mask is None else allowed.mask[self.places]
        hidden = np.flatnonzero(np.isin(self.places, allowed.hidden)) if len(allowed.hidden) else NONE_HIDDEN
        found: np.ndarray = self.places[self.index.search(profile, n, Allowed(mask, hidden))]
        return found


@dataclass(frozen=True)
class Scored:
    """What the blend makes of some items for one user.

    Attributes:
        places: From 0, in no order. Shape (N,), int64.
        added: What each part adds. Shapes (N,), float32.
        standard: Of every part that was asked, standardised; none where the sequence model ranks alone.
    """

    places: np.ndarray
    added: Mapping[str, np.ndarray]
    standard: Mapping[str, np.ndarray]

    @property
    def scores(self) -> np.ndarray:
        """Their sum. Shape (N,), float32."""
        total: np.ndarray = sum(self.added.values(), np.zeros(len(self.places), dtype=np.float32))
        return total


class LargeRanker(Ranker):
    """A ranker that looks at the items that its parts find.

    Args:
        ranker: What it ranks as.
        parts: The same parts, `sequence` among them, each able to find its best items.
        cold_text: Finds items that no event taught; None where they are not ranked apart.
    """

    def __init__(self, ranker: Ranker, parts: Mapping[str, PartAtPlaces], cold_text: ColdText | None) -> None:
        self.__dict__.update(ranker.__dict__)
        self._at_places, self._by_cold_text = parts, cold_text

    @property
    def recall(self) -> dict[str, float]:
        """Of what each index is asked for, the share that it finds."""
        found = {name: part.index.recall for name, part in self._at_places.items() if hasattr(part, "index")}
        return found if self._by_cold_text is None else {**found, "cold": self._by_cold_text.index.recall}

    def for_each(self, users: Sequence[UserState]) -> list[Ranker]:
        """`for_one` of each of some users who ask together."""
        return [self.for_one(user) for user in users]

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """The best items of each user that the parts find, as `Ranker.top_k` ranks them."""
        lists = []
        excluded = filters.get("exclude") or [()] * len(users)
        for user, own in zip(users, excluded, strict=True):
            left_out = [index - 1 for index in self.ids.known_indices(own)]
            seen = user.seen_places(self.ids) if filters.get("exclude_seen", True) else NONE_HIDDEN
            hidden = np.unique(np.concatenate([np.array(left_out, dtype=np.int64), seen]))
            found = self._best(user, k, Allowed(filters.get("allowed"), hidden))
            if found is None:
                one: ListFilters = {**filters, "exclude": [own]}
                (found,) = super().top_k([user], k, **one)
            lists.append(found)
        return lists

    def parts_of(self, user: UserState, item_ids: Sequence[str]) -> list[Part]:
        """See `Ranker.parts_of`."""
        if not self.knows(user) or not item_ids:
            return super().parts_of(user, item_ids)
        places = np.array(self.ids.indices(item_ids), dtype=np.int64) - 1
        added = self._score(self._asked(user), places).added
        names, rows = list(added), np.stack(list(added.values()))
        return [shown_as(names[best]) for best in rows.argmax(axis=0)]

    def _best(self, user: UserState, k: int, allowed: Allowed) -> list[tuple[str, float]] | None:
        """The best items of one user; None where all have to be scored."""
        if not self.knows(user) or k > MOST_PLACES:
            return None
        with stage("retrieve"):
            asked = self._asked(user)
            places, is_all = self._candidates(asked, k, allowed)
        if len(places) < k and not is_all:
            return None
        with stage("rank"):
            scored = self._score(asked, places)
            scores = finite_scores(SEQUENCE if len(scored.added) == 1 else COLD, scored.scores)
            if self.correction is not None:
                scores = self._correct(asked, scored, scores)
            order = np.lexsort((scored.places, -scores))[:k]
            return [(self.ids.item_id(int(scored.places[one]) + 1), float(scores[one])) for one in order]

    def _candidates(self, asked: AskedOne, k: int, allowed: Allowed) -> tuple[np.ndarray, bool]:
        """Places that the blend ranks, ascending; and whether they are all that may come back."""
        every = allowed.all_rows if allowed.share * len(self.ids) <= FEW_ITEMS else None
        if every is not None:
            return every, True
        n = max(_TIMES_K * k, _AT_LEAST, self.blend.candidates if self.correction is not None else 0)
        found = [self._at_places[name].best(asked, n, allowed) for name in self._asked_parts]
        if self._by_cold_text is not None:
            profile = self.vectors.profile(asked.histories[0], tuned=False)
            found.append(self._by_cold_text.best(profile, n, allowed))
        return np.unique(np.concatenate(found)), False

    @property
    def _asked_parts(self) -> tuple[str, ...]:
        """Those that say something of an item: all, where a correction reads them."""
        return self.part_names if self.correction is not None else self.blend.parts

    def _asked(self, user: UserState) -> AskedOne:
        return self._once("asked", [user], self._ask)

    def _ask(self, users: Sequence[UserState]) -> AskedOne:
        asked = Asked.of(users, self.ids)
        return AskedOne(asked.users, asked.histories, asked.ratings, asked.events)

    def vector_of(self, asked: AskedOne) -> np.ndarray:
        """What the sequence model expects of the user. Shape (D,), float32."""
        return asked.once("expected", self._expected)

    def _expected(self, asked: AskedOne) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = self.expect(asked.users)[0].cpu().numpy()
        return found

    def _score(self, asked: AskedOne, places: np.ndarray) -> Scored:
        """What the blend makes of places, as `Ranker.parts` does of all."""
        if self.blend.is_sequence_alone and not self.ranks_cold and self.correction is None:
            own = finite_scores(SEQUENCE, self._at_places["sequence"].at(asked, places))
            return Scored(places, {"sequence": own.astype(np.float32)}, {})
        standard = {name: self._standard_at(name, asked, places) for name in self._asked_parts}
        shares = self.blend.shares({name: row[None] for name, row in standard.items()}, asked.lengths)
        added = {name: row[0] for name, row in shares.items()}
        if self.ranks_cold:
            own = np.zeros(len(places), dtype=np.float32)
            is_cold = self.unlearned[places]
            vectors = self.vectors.before_fine_tuning()
            cosines = vectors.text.numpy()[places[is_cold] + 1] @ vectors.profile(asked.histories[0])
            own[is_cold] = self.cold.part(finite_scores(TEXT, cosines))
            added["text"] = added["text"] + own if "text" in added else own
        return Scored(places, added, standard)

    def _standard_at(self, name: str, asked: AskedOne, places: np.ndarray) -> np.ndarray:
        part = self._at_places[name]
        scores = finite_scores(SEQUENCE if name == "sequence" else name, part.at(asked, places))
        mean, deviation = part.moments(asked)
        if deviation <= least_spread(mean):
            return np.zeros(len(places), dtype=np.float32)
        found: np.ndarray = ((scores - mean) / deviation).astype(np.float32)
        if name in LEARNED_BY_EVENTS:
            found[self.unlearned[places]] = 0.0
        return found

    def _correct(self, asked: AskedOne, scored: Scored, scores: np.ndarray) -> np.ndarray:
        """The scores as a correction makes them; see `Ranker.corrected`."""
        assert self.correction is not None
        by_part = np.stack([scored.standard[name] for name in self.part_names])
        n = min(self.blend.candidates, by_part.shape[1])
        best = np.unique(np.argsort(-by_part, axis=1, kind="stable")[:, :n])
        described = self.describer.describe(
            asked.users[0], len(asked.histories[0]), scored.places[best], by_part[:, best].T
        )
        added = self.correction.added(described)
        scores = scores.copy()
        correct(scores, best, added, self.unlearned[scored.places] & self.ranks_cold)
        return scores
