"""Makes a list out of a ranker's best items: varied or calibrated, with places for what is rarely shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Unpack

import numpy as np

from core.settings.reranking import RerankSettings
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters
from recommender.reranking.choice import choose_calibrated, choose_varied
from recommender.reranking.floor import Floor, places_of, raise_to_floor
from recommender.reranking.requirements import check_traits
from recommender.reranking.traits import ItemTraits


class Ranks(Protocol):
    """Whatever lists the best items of each user."""

    @property
    def ids(self) -> IdMap: ...

    def top_k(
        self, users: Sequence[UserState], k: int, **filters: Unpack[ListFilters]
    ) -> list[list[tuple[str, float]]]:
        """Per user, (item id, score) pairs, best first."""
        ...


@dataclass(frozen=True)
class Reranked:
    """One list.

    Attributes:
        items: (item id, the ranker's score) pairs, best first.
        n_changed: How many of them the ranker's own list does not hold.
        floors_met: Whether the floors hold; not where too few such items may come back.
    """

    items: list[tuple[str, float]]
    n_changed: int
    floors_met: bool


class Reranker:
    """The items' traits, ready to re-rank. Safe to call from many threads.

    Args:
        vectors: Of the catalogue that the ranker lists.
        settings: What is done.
    Raises:
        RerankError: the catalogue lacks what this looks at.
    """

    def __init__(self, vectors: ItemVectors, settings: RerankSettings, traits: ItemTraits | None = None) -> None:
        self.settings, self.vectors, self._ids = settings, vectors, vectors.ids
        self._text: np.ndarray = vectors.text[1:].numpy()
        self.traits = ItemTraits.by(settings, vectors.catalogue) if traits is None else traits
        check_traits(settings, self.traits)

    def with_settings(self, settings: RerankSettings) -> Reranker:
        """The same items, re-ranked otherwise; what parts the items is looked up again only where it differs.

        Raises:
            RerankError: the catalogue lacks what this looks at.
        """
        same = ("category_levels", "under_exposed")
        is_same = all(getattr(settings, name) == getattr(self.settings, name) for name in same)
        return Reranker(self.vectors, settings, self.traits if is_same else None)

    def top_k(self, ranker: Ranks, user: UserState, k: int, **filters: Unpack[ListFilters]) -> Reranked:
        """The list of one user, out of the ranker's best items that the filters let through.

        Where these hold too few under-exposed items, the ranker is asked for the best of those.
        """
        pool = ranker.top_k([user], max(self.settings.pool, k), **filters)[0]
        places, scores = self._places(pool), np.array([score for _, score in pool])
        more = [
            pair
            for floor in self.floors(k)
            if not floor.holds(places)
            for pair in self._best_marked(ranker, user, floor, filters)
        ]
        chosen = self.choose(places, scores, user, k, self._places(more))
        score_of = dict([*pool, *more])
        ids = [self._ids.item_id(place + 1) for place in chosen]
        return Reranked(
            [(item_id, score_of[item_id]) for item_id in ids],
            n_changed=len(set(chosen) - set(places[:k])),
            floors_met=all(floor.holds(chosen) for floor in self.floors(k)),
        )

    def choose(
        self, pool: Sequence[int], scores: np.ndarray, user: UserState, k: int, more: Sequence[int] = ()
    ) -> list[int]:
        """Choose a list out of a pool. Items are places in the catalogue, from 0.

        Args:
            pool: Best first.
            scores: The ranker's, of the pool. Shape (P,).
            more: Further items, for the floors alone, best first.
        Returns:
            min(k, P) items, in order.
        """
        chosen = [pool[place] for place in self._order(np.array(pool, dtype=np.int64), scores, user, k)]
        met: list[Floor] = []
        for floor in self.floors(k):
            rest = [item for item in dict.fromkeys([*pool, *more]) if item not in chosen]
            chosen = raise_to_floor(chosen, rest, floor, met)
            if floor.holds(chosen):
                met.append(floor)
        return chosen

    def floors(self, k: int) -> list[Floor]:
        """Those of a list of k."""
        settings, traits = self.settings, self.traits
        floors = (
            Floor(traits.rare_items, places_of(settings.item_floor, k)),
            Floor(traits.rare_providers, places_of(settings.provider_floor, k)),
        )
        return [floor for floor in floors if floor.least]

    def _order(self, pool: np.ndarray, scores: np.ndarray, user: UserState, k: int) -> list[int]:
        settings = self.settings
        if settings.kind == "none" or not settings.strength or len(pool) < 2:
            return list(range(min(k, len(pool))))
        relevance = relative(scores)
        if settings.kind == "mmr":
            return choose_varied(relevance, self._similarity(pool), settings.strength, k)
        taste = self.traits.taste(self._ids.known_indices(user.items))
        return choose_calibrated(relevance, self.traits.categories[pool], taste, settings.strength, k)

    def _similarity(self, pool: np.ndarray) -> np.ndarray:
        """Shape (P, P)."""
        if self.settings.similarity == "text":
            vectors = self._text[pool]
            cosines: np.ndarray = vectors @ vectors.T
            return cosines
        categories = self.traits.categories[pool]
        return ((categories[:, None] == categories) & (categories >= 0)).astype(np.float64)

    def _best_marked(
        self, ranker: Ranks, user: UserState, floor: Floor, filters: ListFilters
    ) -> list[tuple[str, float]]:
        allowed = filters.get("allowed")
        marked = floor.marked if allowed is None else floor.marked & allowed
        narrowed: ListFilters = {**filters, "allowed": marked}
        return ranker.top_k([user], floor.least, **narrowed)[0] if marked.any() else []

    def _places(self, pairs: Sequence[tuple[str, float]]) -> list[int]:
        return [self._ids.index(item_id) - 1 for item_id, _ in pairs]


def relative(scores: np.ndarray) -> np.ndarray:
    """Scores as 0 for the pool's lowest to 1 for its highest; all 1 where they are equal. Shape (P,), float64."""
    values = np.asarray(scores, dtype=np.float64)
    least, most = values.min(), values.max()
    return np.ones(len(values)) if most == least else (values - least) / (most - least)
