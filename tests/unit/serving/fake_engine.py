"""An engine of a catalogue of twelve items, with fakes for everything that it asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from core import schema
from core.settings.reranking import RerankSettings
from core.settings.tree import Recipe
from recommender.bundle.loading import Bundle
from recommender.explaining.explainer import Explainer
from recommender.explaining.item_facts import ItemFacts, SharedCounts
from recommender.explaining.relevance import learn
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import POPULARITY
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from recommender.scoring.input import ItemRatings
from recommender.scoring.scorer import PairScore
from recommender.writing.decoding import Decoding
from serving.engine import Engine
from tests.unit.recommender.tiny_shop import DATA, catalogue_of

ITEMS = [f"i{n}" for n in range(12)]


class FakeRanker:
    """Ranks by the number in the id, highest first; popularity the other way round."""

    reads_items_then = False

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.users: list[UserState] = []
        items = catalogue()
        # Even numbers are alike, and so are odd ones.
        rows = [[1.0, 0.0] if int(item[1:]) % 2 else [0.0, 1.0] for item in items.ids]
        self.vectors = ItemVectors.from_rows(items, np.array(rows))

    @property
    def ids(self) -> IdMap:
        return self.vectors.ids

    def for_one(self, user: UserState) -> FakeRanker:
        self.users.append(user)
        return self

    def knows(self, user: UserState) -> bool:
        return bool(set(user.items) & set(ITEMS))

    def answered_by(self, user: UserState) -> str:
        if self.knows(user):
            return "sequence"
        return "profile" if "cook" in user.attributes else "popularity"

    def top_k(
        self,
        users: Sequence[UserState],
        k: int,
        exclude: Sequence[Sequence[str]] = ((),),
        exclude_seen: bool = True,
        allowed: np.ndarray | None = None,
    ) -> list[list[tuple[str, float]]]:
        self.asked.append({"user": users[0], "exclude_seen": exclude_seen})
        out = {*exclude[0], *(users[0].items if exclude_seen else ())}
        if allowed is not None:
            out |= {item for item, is_allowed in zip(catalogue().ids, allowed, strict=True) if not is_allowed}
        order = ITEMS[::-1] if self.answered_by(users[0]) == "sequence" else ITEMS
        return [[(item, float(-place)) for place, item in enumerate(order) if item not in out][:k]]

    def parts_of(self, user: UserState, item_ids: Sequence[str]) -> list[str]:
        return [self.answered_by(user)] * len(item_ids)

    def similarities(self, item_id: str) -> np.ndarray | None:
        rows = self.vectors.text[1:].numpy()
        cosines: np.ndarray = rows @ rows[self.ids.index(item_id) - 1]
        return cosines

    def user_vectors(self, users: Sequence[UserState]) -> np.ndarray | None:
        return np.stack([self.vectors.profile(self.ids.known_indices(user.items)) for user in users])

    def for_each(self, users: Sequence[UserState]) -> list[FakeRanker]:
        return [self.for_one(user) for user in users]

    def nearest_history(self, user: UserState, item_id: str, n: int) -> list[tuple[str, float]]:
        return [(item, 1.0) for item in user.items if item != item_id][:n]

    def nearest_histories(self, user: UserState, item_ids: Sequence[str], n: int) -> list[list[tuple[str, float]]]:
        return [self.nearest_history(user, item_id, n) for item_id in item_ids]


class FakeScorer:
    def __init__(self) -> None:
        self.asked: list[ItemRatings] = []

    def score(self, user: UserState, item_ids: Sequence[str], ratings: ItemRatings) -> list[PairScore]:
        self.asked.append(ratings)
        return [
            PairScore(item_id=i, p_like=0.5, rating=3.0 + len(user.items) / 10, median_rating=3.0) for i in item_ids
        ]


class FakeWriter:
    max_tokens = 100

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.tokens: list[int] = []
        self.decoded: list[Decoding] = []

    def write(self, requests: Sequence[Any], seed: int, decoding: Decoding) -> list[str]:
        self.tokens.append(decoding.max_new_tokens)
        self.decoded.append(decoding)
        self.asked += requests
        return [f"review {request.rating} {seed}" for request in requests]


NOW = object()


class FakeFeatures:
    def __init__(self) -> None:
        self.states = {
            "known": UserState(items=("i1", "i2"), values=(5.0, None), attributes="age 30", own_words="crisp"),
            "fresh": UserState(attributes="age 20"),
            "stranger-things": UserState(items=("gone",), values=(None,)),
        }

    def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        return self.states.get(user_id)

    def read_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        seen = {"i1": 1.0, "i2": 40.0}  # days ago
        state = self.states.get(user_id) or UserState()
        return SeenItems.of_items(item for item in state.items if seen.get(item, 1e9) <= within_days)

    def items_at(self, at: datetime | None = None) -> Any:
        return NOW

    def read_items(self, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        numbers = [int(item[1:]) for item in item_ids]
        return {"item_mean_rating": np.array(numbers, dtype=float), "item_n_ratings": np.array(numbers)}


def catalogue() -> Catalogue:
    rows = {
        schema.ITEM_ID: ITEMS,
        schema.TITLE: [None if n == 3 else f"Title {n}" for n in range(12)],
        schema.CATEGORY: [f"c{n % 10}" for n in range(12)],
        schema.BRAND: [None] * 12,
        schema.PRICE: [float(n) for n in range(12)],
        schema.ITEM_TEXT: [f"Text of {n}" for n in range(12)],
        schema.ITEM_N_EVENTS: list(range(12)),
        schema.ITEM_MEAN_RATING: [None] * 12,
        schema.ITEM_N_RATINGS: [0] * 12,
        # As of `DATA.validation_at`.
        POPULARITY: [[0, n % 5, n] for n in range(12)],
        "item_age_days": [None if n == 5 else float((n * 7) % 12) for n in range(12)],
    }
    items = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    return catalogue_of(items, seed=3)


def make(
    scorer: bool = True,
    writer: bool = True,
    generative: bool = True,
    explainer: bool = True,
    rerank: RerankSettings | None = None,
) -> Engine:
    bundle = SimpleNamespace(
        manifest=SimpleNamespace(recipe=Recipe(rerank=rerank or RerankSettings()), data=DATA),
        catalogue=catalogue(),
        ranker=FakeRanker(),
        scorer=FakeScorer() if scorer else None,
        writer=FakeWriter() if writer else None,
        generative=FakeRanker() if generative else None,
        explainer=explainer_of(catalogue()) if explainer else None,
    )
    return Engine(model="m:1", bundle=cast(Bundle, bundle), features=FakeFeatures(), max_k=10)


def explainer_of(items: Catalogue) -> Explainer:
    """To which all kinds of facts matter alike; item 5 was chosen with item 2 by four customers."""
    n, five, two = len(items), items.ids.index("i5") - 1, items.ids.index("i2") - 1
    starts = np.searchsorted([five], np.arange(n + 1)).astype(np.int64)
    others, n_both, none = (np.array([count], dtype=np.int64) for count in (two, 4, 0))
    counts = SharedCounts(starts, others, n_both, none, none, np.full(n, 5, dtype=np.int64), 50)
    return Explainer(ItemFacts(items, {}, {}, counts), learn([], 1.0))


def ids_of(answer: Any) -> list[str]:
    return [item.item_id for item in answer.items]
