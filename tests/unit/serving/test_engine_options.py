"""The options of lists, of the blend and of generative retrieval alike: pins, boosts, seen items, sessions, chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import pytest

from core.logs.predictions import Prediction
from core.settings.features import FeatureSettings, SeenSettings
from core.settings.reranking import RerankSettings
from core.settings.tree import Recipe
from recommender.inputs.seen import SeenItems
from serving.api.recommend import Recommendations, RecommendRequest
from serving.engine import Engine
from serving.errors import BadRequest, CapabilityMissing, UnknownItem
from serving.experiments.plan import Choice
from serving.experiments.records import prediction_of, ranked_items
from tests.unit.serving.fake_engine import FakeFeatures, FakeRanker, ids_of, make

BOTH = pytest.mark.parametrize("by", ["blend", "generative"])


@pytest.fixture
def engine() -> Engine:
    return make()


def ask(engine: Engine, **asked: Any) -> Recommendations:
    return engine.recommend(RecommendRequest.model_validate(asked))


def moves(answer: Recommendations, rule: str = "boost", number: int = 0) -> dict[str, tuple[int | None, int | None]]:
    (found,) = [one for one in answer.applied if (one.rule, one.number) == (rule, number)]
    return {one.item_id: (one.from_place, one.to_place) for one in found.items}


@BOTH
def test_a_boost_divides_a_place_and_a_bury_multiplies_it(engine: Engine, by: str) -> None:
    plain = ids_of(ask(engine, history=["i0"], k=6, by=by))
    assert plain == ["i11", "i10", "i9", "i8", "i7", "i6"]
    answer = ask(engine, history=["i0"], k=6, by=by, boost=[{"items": ["i6"], "factor": 2}])
    assert ids_of(answer) == ["i11", "i10", "i6", "i9", "i8", "i7"]
    assert moves(answer) == {"i6": (6, 3)}
    assert [item.score for item in answer.items] == [0, -1, -5, -2, -3, -4], "the items' own"
    answer = ask(engine, history=["i0"], k=6, by=by, bury=[{"items": ["i10"], "factor": 2}])
    assert ids_of(answer) == ["i11", "i9", "i8", "i10", "i7", "i6"]
    assert moves(answer, "bury") == {"i10": (2, 4)}


@BOTH
def test_what_stands_far_below_comes_up_by_a_boost_and_what_is_buried_leaves(engine: Engine, by: str) -> None:
    answer = ask(engine, k=2, by=by, history=["i0"], boost=[{"max_price": 1.0, "factor": 10}])
    assert ids_of(answer) == ["i11", "i1"]
    assert moves(answer) == {"i1": (11, 2)}
    (rule,) = answer.applied
    assert rule.n_matched == 1, "i0 is seen"
    answer = ask(engine, k=2, by=by, history=["i0"], bury=[{"items": ["i11", "i10"], "factor": 10}])
    assert ids_of(answer) == ["i9", "i8"]
    assert moves(answer, "bury") == {"i11": (1, None), "i10": (2, None)}


def test_factors_of_several_rules_are_multiplied_up_to_ten(engine: Engine) -> None:
    rules = [{"items": ["i3"], "factor": 3}, {"items": ["i3", "ghost"], "factor": 3}]
    answer = ask(engine, k=3, history=["i0"], boost=rules)
    assert ids_of(answer) == ["i3", "i11", "i10"], "place 9 by 9"
    assert answer.unknown_items == ["ghost"]
    assert [one.number for one in answer.applied] == [0, 1]


@BOTH
def test_a_pinned_item_stands_where_it_is_pinned(engine: Engine, by: str) -> None:
    pins = [{"item_id": "i2", "position": 3}, {"item_id": "i11", "position": 2}]
    answer = ask(engine, history=["i0"], k=4, by=by, pin=pins)
    assert ids_of(answer) == ["i10", "i11", "i2", "i9"]
    assert moves(answer, "pin", 1) == {"i11": (1, 2)}
    scores = {item.item_id: item.score for item in answer.items}
    assert scores["i2"] == -9, "the ranker's own"
    every_place = [{"item_id": f"i{n}", "position": n} for n in (3, 1, 2)]
    assert ids_of(ask(engine, history=["i0"], k=3, by=by, pin=every_place)) == ["i1", "i2", "i3"]


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        ({"max_price": 1.0}, "left out by the filters"),
        ({"exclude": ["i2"]}, "left out by the filters"),
        ({"allow": ["i3", "i4"]}, "left out by the filters"),
        ({"history": ["i2"]}, "the user has seen it"),
    ],
)
def test_filters_hold_for_pinned_items_and_the_answer_says_so(engine: Engine, asked: dict[str, Any], note: str) -> None:
    answer = ask(engine, k=3, pin=[{"item_id": "i2", "position": 1}], **asked)
    assert "i2" not in ids_of(answer)
    assert answer.applied[0].note == note
    assert answer.applied[0].n_matched == 0


def test_a_pinned_item_may_be_shown_although_it_is_seen(engine: Engine) -> None:
    pin = {"item_id": "i2", "position": 1, "even_if_seen": True}
    assert ids_of(ask(engine, k=2, history=["i2"], pin=[pin])) == ["i2", "i11"]


def test_an_unknown_pin_is_a_404(engine: Engine) -> None:
    with pytest.raises(UnknownItem, match=r"pin\.item_id='ghost', expected items of the catalogue"):
        ask(engine, pin=[{"item_id": "ghost", "position": 1}])


@BOTH
def test_only_items_of_an_allow_list_are_shown(engine: Engine, by: str) -> None:
    answer = ask(engine, history=["i0"], by=by, allow=["i5", "i7", "gone"], exclude=["i7"])
    assert ids_of(answer) == ["i5"]
    assert answer.unknown_items == ["gone"]


def test_items_of_a_session_follow_the_history_and_are_seen(engine: Engine) -> None:
    answer = ask(engine, user_id="known", k=10, context={"items": ["i5", "gone", "i1"]})
    ranker = cast(FakeRanker, engine.bundle.ranker)
    assert ranker.users[-1].items == ("i2", "i5", "i1")
    assert ranker.users[-1].values == (None, None, 5.0)
    assert answer.skipped_history == ["gone"]
    assert not {"i1", "i2", "i5"} & set(ids_of(answer))
    cold = ask(engine, user_id="who", context={"items": ["i5"]})
    assert (cold.cold_start, cold.items[0].because) == (False, ["i5"])
    assert ask(engine, context={"items": ["gone"]}).cold_start is True


def aged(engine: Engine, within_days: float | None = None, reads: bool = False) -> Engine:
    """With kinds of events, and items that come back."""
    features = cast(FakeFeatures, engine.features)
    features.states["known"] = replace(features.states["known"], events=("purchase", "view"))
    settings = FeatureSettings(seen=SeenSettings(within_days=within_days))
    cast(Any, engine.bundle.manifest).recipe = Recipe(features=settings)
    cast(Any, engine.bundle.ranker).reads_items_then = reads
    return engine


def masked(engine: Engine) -> set[str]:
    user = cast(FakeRanker, engine.bundle.ranker).asked[-1]["user"]
    assert user.seen is not None
    return {
        item_id
        for place, item_id in enumerate(engine.bundle.catalogue.ids)
        if place in user.seen_places(engine.bundle.catalogue.ids)
    }


def test_what_counts_as_seen_is_said_per_request(engine: Engine) -> None:
    features = cast(FakeFeatures, engine.features)
    aged(engine)
    features.states["known"] = replace(features.states["known"], seen=SeenItems.of_items(["i1", "i2", "i9"]))
    ask(engine, user_id="known", seen={"within_days": 7})
    assert masked(engine) == {"i1"}
    ask(engine, user_id="known", seen={"at_least": "cart"})
    assert masked(engine) == {"i1", "i9"}, "of i9 no kind is known any more"
    ask(engine, user_id="known", seen={"within_days": 100, "at_least": "cart"}, context={"items": ["i4"]})
    assert masked(engine) == {"i1", "i4"}
    assert ask(engine, user_id="who", seen={"within_days": 7}).cold_start is True


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"history": ["i1"], "seen": {"within_days": 2}}, BadRequest, "seen, without a user_id"),
        ({"user_id": "known", "seen": {"at_least": "impression"}}, BadRequest, "seen.at_least=impression"),
        ({"user_id": "fresh-kinds", "seen": {"at_least": "cart"}}, CapabilityMissing, "keeps no kinds of this user"),
    ],
)
def test_what_cannot_be_told_of_seen_items_is_an_error(
    engine: Engine, asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    features = cast(FakeFeatures, engine.features)
    features.states["fresh-kinds"] = features.states["known"]
    with pytest.raises(error, match=said):
        ask(aged(engine), **asked)


def test_a_moment_is_read_where_something_changes_with_it() -> None:
    soon = datetime.now(UTC) + timedelta(days=3)
    for engine in (aged(make(), within_days=5), aged(make(), reads=True)):
        assert ids_of(ask(engine, user_id="known", k=1, context={"time": soon}))
    with pytest.raises(CapabilityMissing, match="reads nothing that changes with the time"):
        ask(aged(make()), user_id="known", context={"time": soon})
    with pytest.raises(CapabilityMissing, match="reads nothing that changes with the time"):
        ask(aged(make(), reads=True), by="generative", context={"time": soon})
    with pytest.raises(BadRequest, match="expected now or later"):
        ask(aged(make(), reads=True), context={"time": datetime.now(UTC) - timedelta(hours=1)})


@BOTH
@pytest.mark.parametrize("kind", ["epsilon", "thompson"])
def test_explored_lists_obey_filters_and_say_their_propensities(engine: Engine, by: str, kind: str) -> None:
    shown = set()
    for seed in range(20):
        asked = {"kind": kind, "pool": 8, "seed": seed}
        answer = ask(engine, history=["i0"], by=by, k=3, exploration=asked, exclude=["i11"], max_price=9.0)
        assert len(set(ids_of(answer))) == 3
        assert set(ids_of(answer)) <= {f"i{n}" for n in range(2, 10)}, "eight candidates"
        assert all(0 < (item.propensity or 0) <= 1 for item in answer.items)
        assert answer.exploration is not None
        assert (answer.exploration.seed, answer.exploration.n_candidates) == (seed, 8)
        shown |= set(ids_of(answer))
    assert len(shown) > 3
    assert ask(engine, history=["i0"], k=3, by=by).items[0].propensity is None


def test_rules_rerankings_and_chance_go_together() -> None:
    engine = make(rerank=RerankSettings(kind="mmr", strength=0.4, similarity="text", pool=6))
    plain = ask(engine, history=["i0"], k=4)
    asked = {"kind": "epsilon", "epsilon": 0.0, "pool": 6}
    same = ask(engine, history=["i0"], k=4, exploration=asked)
    assert ids_of(same) == ids_of(plain)
    assert same.diversity == plain.diversity
    pinned = ask(engine, history=["i0"], k=4, pin=[{"item_id": "i1", "position": 1}], exploration=asked)
    assert ids_of(pinned) == ["i1", *ids_of(plain)[:3]]
    assert pinned.items[0].propensity == 1
    assert pinned.diversity is not None
    assert pinned.diversity.n_changed >= 1


def test_each_of_many_users_gets_their_own_answer(engine: Engine) -> None:
    users = [{"user_id": "known"}, {"history": ["i3", "gone"]}, {"about": "a cook"}]
    exploration = {"kind": "epsilon", "epsilon": 0.5, "seed": 4}
    many = engine.recommend_each(RecommendRequest.model_validate({"users": users, "k": 3, "exploration": exploration}))
    alone = [
        ask(engine, k=3, **user, exploration={**exploration, "seed": 4 + number}) for number, user in enumerate(users)
    ]
    assert [ids_of(one) for one in many.answers] == [ids_of(one) for one in alone]
    assert [one.user_id for one in many.answers] == ["known", None, None]
    assert [one.skipped_history for one in many.answers] == [[], ["gone"], []]
    assert len({one.recommendation_id for one in many.answers}) == 3


def test_more_users_than_the_setting_allows_are_refused(engine: Engine) -> None:
    with pytest.raises(BadRequest, match=r"users=65, expected at most serving\.max_users=64"):
        engine.recommend_each(RecommendRequest.model_validate({"users": [{}] * 65}))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"users": [{}], "user_id": "u"}, "users and user_id are both given"),
        ({"users": [{}], "context": {"items": ["i"]}}, "users and context are both given"),
        ({"users": []}, "at least 1 item"),
        ({"k": 2, "pin": [{"item_id": "i", "position": 3}]}, r"pin\.position=3, expected at most k=2"),
        (
            {"pin": [{"item_id": "i", "position": 1}, {"item_id": "j", "position": 1}]},
            r"pin\.position=1 is given twice",
        ),
        ({"pin": [{"item_id": "i", "position": n} for n in (1, 2)]}, r"pin\.item_id='i' is given"),
        ({"boost": [{"factor": 2.0}]}, "nothing says which items"),
        ({"boost": [{"items": ["i"], "factor": 11.0}]}, "less than or equal to 10"),
        ({"exclude_seen": False, "seen": {"within_days": 1.0}}, "expected exclude_seen=true"),
        ({"seen": {}}, "expected within_days or at_least"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RecommendRequest.model_validate(asked)


def test_the_depth_that_is_looked_at_is_enough_for_every_rule() -> None:
    """Against the whole catalogue, reordered by hand, for many random rules."""
    chance = np.random.default_rng(1)
    for _ in range(60):
        engine = make()
        k = int(chance.integers(1, 6))
        boosted = [f"i{n}" for n in chance.choice(12, 3, replace=False)]
        buried = [f"i{n}" for n in chance.choice(12, 3, replace=False)]
        up, down = float(chance.uniform(1.1, 10)), float(chance.uniform(1.1, 10))
        rules = {"boost": [{"items": boosted, "factor": up}], "bury": [{"items": buried, "factor": down}]}
        got = ids_of(ask(engine, history=["gone", "i0"], k=k, **rules))
        order = [f"i{n}" for n in range(11, 0, -1)]
        factor = {i: (up if i in boosted else 1) / (down if i in buried else 1) for i in order}
        expected = sorted(order, key=lambda i: ((order.index(i) + 1) / factor[i], -factor[i], order.index(i)))
        assert got == expected[:k]


def recorded(engine: Engine, **asked: Any) -> Prediction:
    request = RecommendRequest.model_validate({"user_id": "known", "k": 6, **asked})
    choice = Choice(engine, "", "champion", "user")
    return prediction_of(choice, request, engine.recommend(request), "/v1/recommend", 0.0)


def test_what_rules_did_is_recorded_by_place(engine: Engine) -> None:
    assert recorded(engine).rules == []
    record = recorded(
        engine,
        pin=[{"item_id": "i3", "position": 2, "id": "spring"}],
        boost=[{"items": ["i10", "i3"], "factor": 10}],
        bury=[{"items": ["i9"], "factor": 1.1}, {"items": ["i9"], "factor": 1.1, "id": "old"}],
    )
    assert list(zip(record.items, record.rules, strict=True)) == [
        ("i10", "boost:0"),
        ("i3", "pin:spring"),
        ("i11", ""),
        ("i9", "bury:0 bury:old"),
        ("i8", ""),
        ("i7", ""),
    ]
    assert ranked_items(record) == ["i10", "i11", "i9", "i8", "i7"]


def test_a_pin_that_is_not_shown_is_not_recorded(engine: Engine) -> None:
    record = recorded(engine, pin=[{"item_id": "i1", "position": 1}])
    assert (record.rules, "i1" in record.items) == ([], False)
