"""Answers that go on without the online store, endpoint by endpoint, and say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from features.errors import FeastFailure, FeatureError, StoreNotReady
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from serving.api.feedback import FeedbackRequest
from serving.api.lists import LatestRequest, PopularRequest, SearchRequest, SimilarRequest
from serving.api.options import SeenRule
from serving.api.recommend import RecommendRequest, RecommendUser
from serving.api.score import ScoreRequest
from serving.engine import Engine
from serving.lists import orders
from serving.lists.orders import KeptOrders
from serving.lists.searching import Searcher
from serving.online.reads import LastKnown
from serving.visitor import UNREAD
from tests.unit.serving.fake_engine import FakeFeatures, ids_of, make

AWAY = FeastFailure("Cannot read the online store", got="error=TimeoutError", expected="an answer", do="Wait")


class Items:
    """Features of all items; of those of a store that was never read there are none."""

    def __init__(self, count: int) -> None:
        self._count = count

    def of(self, ids: Any) -> Any:
        counts = np.full(len(ids), self._count, dtype=np.int64)
        return SimpleNamespace(
            popularity=np.stack([counts] * 3, axis=1),
            numbers=lambda places: {"item_n_events": counts, "item_age_days": counts + 1.0},
        )


class Store(FakeFeatures):
    """A store that may be away, of which `known` was read before."""

    def __init__(self) -> None:
        super().__init__()
        self.error: FeatureError | None = None
        self.last = {"known": self.states["known"]}
        self.last_count = 3

    @property
    def is_away(self) -> bool:
        return self.error is not None

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        self._check()
        return super().read_user(user_id, at)

    def read_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        self._check()
        return super().read_seen(user_id, within_days, at)

    def items_at(self, at: datetime | None = None) -> Any:
        self._check()
        return Items(5)

    def read_items(self, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        self._check()
        return super().read_items(item_ids)

    def last_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        return self.last.get(user_id)

    def last_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        return super().read_seen(user_id, within_days, at) if user_id in self.last else SeenItems()

    def last_items_at(self, at: datetime | None = None) -> Any:
        return Items(self.last_count)

    def last_items(self, item_ids: Sequence[str]) -> dict[str, np.ndarray]:
        return super().read_items(item_ids)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def engine(store: Store) -> Engine:
    made = Engine(model="m:1", bundle=make().bundle, features=cast(Any, store), max_k=10)
    made.lists.searcher = Searcher(made.bundle.ranker.vectors, lambda _: np.zeros(12), "m:1")
    return made


def recommend_many(engine: Engine, user: str) -> Any:
    (answer,) = engine.recommend_each(RecommendRequest(users=[RecommendUser(user_id=user)], k=3)).answers
    return answer


ANSWERS: dict[str, Callable[[Engine, str], Any]] = {
    "recommend": lambda engine, user: engine.recommend(RecommendRequest(user_id=user, k=3)),
    "recommend, many": recommend_many,
    "recommend, seen": lambda engine, user: engine.recommend(
        RecommendRequest(user_id=user, k=3, seen=SeenRule(within_days=30))
    ),
    "score": lambda engine, user: engine.score(ScoreRequest(user_id=user, item_ids=["i5"])),
    "review": lambda engine, user: engine.feedback(FeedbackRequest(user_id=user, item_id="i5", seed=1)),
    "reason": lambda engine, user: engine.feedback(FeedbackRequest(user_id=user, item_id="i5", kind="reason", seed=1)),
    "popular": lambda engine, user: engine.lists.popular(PopularRequest(user_id=user, k=3)),
    "popular, days": lambda engine, user: engine.lists.popular(PopularRequest(user_id=user, k=3, days=7)),
    "latest": lambda engine, user: engine.lists.latest(LatestRequest(user_id=user, k=3)),
    "search": lambda engine, user: engine.lists.search(SearchRequest(query="text", user_id=user, k=3)),
    "similar users": lambda engine, user: engine.lists.similar(SimilarRequest(user_id=user, among=["known"], k=3)),
}


def told(answer: Any) -> dict[str, Any]:
    """An answer, but for its own id."""
    return {name: value for name, value in answer.model_dump().items() if name not in ("recommendation_id", "degraded")}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_user_who_was_read_before_is_answered_as_before(engine: Engine, store: Store, name: str) -> None:
    store.last_count = 5
    before = ANSWERS[name](engine, "known")
    store.error = AWAY
    meanwhile = ANSWERS[name](engine, "known")
    store.error = None
    after = ANSWERS[name](engine, "known")
    assert [one.degraded for one in (before, meanwhile, after)] == [[], ["online_store"], []]
    if name != "latest":  # of which the moment is told
        assert told(before) == told(meanwhile) == told(after)


ORDERS = ["popular", "popular, days", "latest"]


@pytest.fixture
def keeping(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine that keeps orders, as of a large catalogue, and makes each again at the next request."""
    monkeypatch.setattr(orders, "_LEAST_AGE_S", 0.0)
    monkeypatch.setattr(orders, "_AGE_PER_SECOND", 0.0)
    engine.lists._orders = KeptOrders(engine.bundle.catalogue.ids, sorted_at_once=0)
    return engine


def settle() -> None:
    """Wait until no order is being made."""
    for thread in threading.enumerate():
        if thread.name == "orders":
            thread.join(5)


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_that_was_made_without_the_store_answers_while_it_is_away_alone(
    keeping: Engine, store: Store, name: str
) -> None:
    store.error, store.last_count = AWAY, 0
    made = [ANSWERS[name](keeping, "known") for _ in range(3)]
    assert [one.degraded for one in made] == [["online_store"]] * 3
    store.error = None
    back = ANSWERS[name](keeping, "known")
    assert (back.degraded, len(ids_of(back))) == ([], 3)
    assert {one.score for one in back.items} == ({-6.0} if name == "latest" else {5.0})


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_that_is_made_as_the_store_goes_away_takes_no_whole_ones_place(
    keeping: Engine, store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = ANSWERS[name](keeping, "stranger")
    monkeypatch.setattr(Store, "is_away", False)  # nobody has noticed yet
    store.error, store.last_count = AWAY, 0
    for _ in range(3):
        time.sleep(0.002)
        ANSWERS[name](keeping, "stranger")
        settle()
    monkeypatch.setattr(Store, "is_away", True)
    meanwhile = ANSWERS[name](keeping, "stranger")
    assert meanwhile.degraded == ["online_store"]
    assert [one.score for one in meanwhile.items] == [one.score for one in whole.items]
    monkeypatch.setattr(Store, "is_away", False)
    store.error = None
    after = ANSWERS[name](keeping, "stranger")
    settle()
    assert (after.degraded, [one.score for one in after.items]) == ([], [one.score for one in whole.items])


def test_while_the_store_is_away_no_order_is_made_again(keeping: Engine, store: Store) -> None:
    ANSWERS["popular"](keeping, "known")
    asked: list[None] = []
    store.last_items_at = lambda at=None: asked.append(None) or Items(3)  # type: ignore[func-returns-value, method-assign]
    store.error = AWAY
    for _ in range(5):
        time.sleep(0.002)
        ANSWERS["popular"](keeping, "known")
    settle()
    assert asked == []


@pytest.mark.parametrize("name", ANSWERS)
def test_a_user_who_was_never_read_is_a_cold_start(engine: Engine, store: Store, name: str) -> None:
    store.error, store.last = AWAY, {}
    answer = ANSWERS[name](engine, "known")
    assert answer.degraded == ["online_store"]
    if name.startswith(("recommend", "score")):
        assert (answer.cold_start, answer.reason) == (True, UNREAD)
    if name == "search":
        assert (answer.cold_start, answer.ranked_by.personal) == (True, 0.0)
    if name == "similar users":
        assert (answer.users, answer.unknown_users) == ([], [])
    elif name not in ("score", "review", "reason"):
        assert len(ids_of(answer)) == 3


def test_what_a_cold_start_is_told_of_the_user_still_counts(engine: Engine, store: Store) -> None:
    store.error, store.last = AWAY, {}
    answer = engine.recommend(RecommendRequest(user_id="known", about="cook", k=3))
    assert answer.reason == f"{UNREAD}; answered by the user's attributes"


def test_what_is_popular_of_a_store_that_was_never_read_is_what_was_in_the_training(
    engine: Engine, store: Store
) -> None:
    store.error, store.last_count = AWAY, 0
    answer = engine.lists.popular(PopularRequest(k=2))
    assert ([(one.item_id, one.score) for one in answer.items], answer.degraded) == (
        [("i11", 11.0), ("i10", 10.0)],
        ["online_store"],
    )
    week = engine.lists.popular(PopularRequest(k=4, days=7))
    assert ([(one.item_id, one.score) for one in week.items[:2]], week.degraded) == (
        sorted([("i4", 4.0), ("i9", 4.0)], key=lambda pair: engine.bundle.catalogue.ids.index(pair[0])),
        ["online_store"],
    )
    assert engine.lists.popular(PopularRequest(k=4, days=1)).items == [], "there was nothing on that day"


def test_what_is_new_of_a_store_that_was_never_read_is_what_was_newest_in_the_training(
    engine: Engine, store: Store
) -> None:
    store.error, store.last_count = AWAY, 0
    latest = engine.lists.latest(LatestRequest(k=10))
    assert ([one.item_id for one in latest.items[:3]], latest.degraded) == (["i0", "i7", "i2"], ["online_store"])
    assert "i5" not in ids_of(latest), "of which nothing is known"
    learned = engine.bundle.manifest.data.learned_until_at
    for item, age in zip(latest.items[:3], (0, 1, 2), strict=True):
        assert abs(item.since - (learned - timedelta(days=age))) < timedelta(minutes=1)


def test_what_was_read_last_comes_before_what_the_bundle_learned(engine: Engine, store: Store) -> None:
    store.error, store.last_count = AWAY, 2
    assert {one.score for one in engine.lists.popular(PopularRequest(k=10, days=7)).items} == {2.0}
    assert {one.score for one in engine.lists.latest(LatestRequest(k=10)).items} == {-3.0}


def test_an_answer_that_reads_nothing_is_not_degraded(engine: Engine, store: Store) -> None:
    store.error = AWAY
    assert engine.recommend(RecommendRequest(history=["i1"], k=3)).degraded == []
    assert engine.lists.similar(SimilarRequest(item_id="i1", k=3)).degraded == []
    assert engine.lists.search(SearchRequest(query="text", k=3)).degraded == []


def test_others_who_cannot_be_read_are_not_compared(engine: Engine, store: Store) -> None:
    store.error = AWAY
    answer = engine.lists.similar(SimilarRequest(user_id="known", among=["stranger-things", "fresh"], k=3))
    assert (answer.users, answer.unknown_users) == ([], ["stranger-things", "fresh"])


def test_records_are_what_was_read_last_or_nothing(engine: Engine, store: Store) -> None:
    """Of a user who was never read it is not known whether there is one."""
    store.error = AWAY
    assert engine.read_user("known").degraded == ["online_store"]
    assert engine.read_item("i5").degraded == ["online_store"]
    with pytest.raises(FeastFailure, match="error=TimeoutError"):
        engine.read_user("fresh")


def test_a_worker_that_starts_while_the_store_is_away_answers(engine: Engine, store: Store) -> None:
    store.error = AWAY
    engine.warm()
    store.error = StoreNotReady("Cannot open", got="folder=x", expected="a store", do="Refresh the features")
    with pytest.raises(StoreNotReady):
        engine.warm()


def test_a_reader_that_keeps_nothing_fails_as_it_does() -> None:
    class Strict(FakeFeatures):
        def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
            raise AWAY

    strict = Strict()
    assert not isinstance(strict, LastKnown)
    engine = Engine(model="m:1", bundle=make().bundle, features=strict, max_k=10)
    with pytest.raises(FeastFailure):
        engine.recommend(RecommendRequest(user_id="known", k=3))
