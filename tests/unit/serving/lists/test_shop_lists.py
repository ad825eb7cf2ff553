"""What is popular, new, similar or searched for: orders, filters, rules, and what is said where nothing can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest

from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import ItemColumns
from serving.api.lists import LatestRequest, PopularRequest, SearchRequest, SimilarRequest
from serving.engine import Engine
from serving.errors import BadRequest, CapabilityMissing, UnknownItem, UnknownUser
from serving.lists.searching import Searcher
from tests.unit.serving.fake_engine import FakeRanker, ids_of, make

# Of the items i0 to i11: all events, those of one, seven and thirty days, and ages in days.
EVENTS = [0, 11, 2, 9, 4, 7, 6, 5, 8, 3, 10, 1]
WEEK = [0, 1, 2, 0, 5, 0, 0, 0, 0, 0, 0, 0]
AGES = [3.0, 40.0, 1.5, 2.5, 100.0, math.nan, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0]


class Moment:
    """The items now."""

    def of(self, ids: IdMap) -> ItemColumns:
        number = [int(item_id[1:]) for item_id in ids]
        week = np.array(WEEK)[number]

        def numbers(places: np.ndarray) -> Mapping[str, np.ndarray]:
            chosen = np.array(number)[places]
            return {"item_n_events": np.array(EVENTS, dtype=float)[chosen], "item_age_days": np.array(AGES)[chosen]}

        return ItemColumns(np.stack([0 * week, week, 2 * week], axis=1), numbers)


def nearness(query: str) -> np.ndarray:
    """Odd items are near to what is called odd."""
    return np.array([float("odd" in query and int(item_id[1:]) % 2) for item_id in make().bundle.catalogue.ids])


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = make()
    monkeypatch.setattr(made.features, "items_at", lambda *_: Moment())
    made.lists.searcher = Searcher(made.bundle.ranker.vectors, nearness, "m:1")
    return made


def popular(engine: Engine, **asked: Any) -> Any:
    return engine.lists.popular(PopularRequest.model_validate(asked))


def search(engine: Engine, **asked: Any) -> Any:
    return engine.lists.search(SearchRequest.model_validate(asked))


def similar(engine: Engine, **asked: Any) -> Any:
    return engine.lists.similar(SimilarRequest.model_validate(asked))


def test_what_most_events_happened_on_is_popular(engine: Engine) -> None:
    assert ids_of(popular(engine, k=3)) == ["i1", "i10", "i3"]
    assert [item.score for item in popular(engine, k=3).items] == [11, 10, 9]
    assert ids_of(popular(engine, k=10, days=7)) == ["i4", "i2", "i1"], "without events nothing is popular"
    assert popular(engine, days=30).items[0].score == 10
    assert ids_of(popular(engine, k=2, user_id="known")) == ["i10", "i3"], "i1 is seen"
    assert ids_of(popular(engine, k=2, user_id="known", exclude_seen=False)) == ["i1", "i10"]
    assert popular(engine, history=["gone"]).skipped_history == ["gone"]


def test_popular_items_of_each_category(engine: Engine) -> None:
    answer = popular(engine, k=2, per_category=1, max_price=5.0, exclude=["i3"])
    assert ids_of(answer) == ["i1", "i5"]
    assert [(one.category, ids_of(one)) for one in answer.categories] == [
        ("c1", ["i1"]),
        ("c5", ["i5"]),
        ("c4", ["i4"]),
        ("c2", ["i2"]),
    ]
    two = popular(engine, per_category=2).categories
    assert next(one for one in two if one.category == "c1").items[1].item_id == "i11"


def test_days_that_nobody_counts_are_refused_with_those_that_are(engine: Engine) -> None:
    with pytest.raises(BadRequest, match=r"days=3, expected one of 1, 7, 30: recipe\.features\.windows_days"):
        popular(engine, days=3)
    with pytest.raises(BadRequest, match="Cannot list popular items: k=11, expected 1 to 10"):
        popular(engine, k=11)


def test_the_newest_items_come_first_and_those_without_a_date_do_not(engine: Engine) -> None:
    answer = engine.lists.latest(LatestRequest(k=10))
    assert ids_of(answer)[:3] == ["i2", "i3", "i0"]
    everything = engine.lists.latest(LatestRequest(k=10, exclude=["i2"]))
    assert "i5" not in ids_of(everything) + ids_of(answer)
    age = datetime.now(UTC) - answer.items[0].since
    assert age.total_seconds() == pytest.approx(1.5 * 86_400, abs=60)
    pinned = engine.lists.latest(LatestRequest.model_validate({"pin": [{"item_id": "i5", "position": 1}]}))
    assert pinned.applied[0].note == "this list does not rank it"


def test_rules_mean_the_same_in_every_list(engine: Engine) -> None:
    rules: dict[str, Any] = {
        "k": 3,
        "boost": [{"items": ["i3"], "factor": 3}],
        "pin": [{"item_id": "i0", "position": 2}],
    }
    answer = popular(engine, **rules)
    assert ids_of(answer) == ["i3", "i0", "i1"], "without events, but pinned"
    assert [one.rule for one in answer.applied] == ["pin", "boost"]
    with pytest.raises(UnknownItem, match=r"Cannot list popular items: pin\.item_id='x'"):
        popular(engine, pin=[{"item_id": "x", "position": 1}])


def test_similar_items_are_those_nearest_to_the_model(engine: Engine) -> None:
    found = [item.item_id for item in similar(engine, item_id="i1", k=10).items]
    assert set(found) < {f"i{number}" for number in range(12)} - {"i1"}
    assert set(found[:5]) == {"i3", "i5", "i7", "i9", "i11"}, "odd ones are alike"
    with pytest.raises(BadRequest, match="k=11, expected 1 to 10"):
        similar(engine, item_id="i1", k=11)


def test_a_model_to_which_no_item_is_like_another_says_so(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.bundle.ranker, "similarities", lambda _: None)
    with pytest.raises(CapabilityMissing, match="no item is like i1"):
        similar(engine, item_id="i1", k=2)


def test_similar_items_for_a_user_are_those_that_they_have_not_seen(engine: Engine) -> None:
    plain = similar(engine, item_id="i5", k=10)
    assert "i2" in [item.item_id for item in plain.items]
    own = similar(engine, item_id="i5", k=10, user_id="known")
    seen = ["i1", "i2"]
    wanted = [item.item_id for item in similar(engine, item_id="i5", k=10, exclude=seen).items]
    assert [item.item_id for item in own.items] == wanted
    again = similar(engine, item_id="i5", k=10, user_id="known", exclude_seen=False)
    for same in (again, similar(engine, item_id="i5", k=10, user_id="nobody")):
        assert [item.item_id for item in same.items] == [item.item_id for item in plain.items]


def test_similar_items_pass_the_filters(engine: Engine) -> None:
    answer = similar(engine, item_id="i1", k=3, min_price=4.0)
    assert set(ids_of(answer)) <= {"i5", "i7", "i9", "i11"}
    assert [item.score for item in answer.items] == [1, 1, 1]
    with pytest.raises(UnknownItem, match="item_id='gone'"):
        similar(engine, item_id="gone")


def test_users_are_compared_by_what_is_expected_of_them(engine: Engine) -> None:
    states = cast(Any, engine.features).states
    known = type(states["known"])
    states |= {"odd": known.from_history(["i3", "i5"]), "even": known.from_history(["i4", "i6"])}
    answer = similar(engine, user_id="odd", among=["even", "known", "odd", "who", "fresh", "stranger-things"], k=2)
    assert [user.user_id for user in answer.users] == ["known", "even"]
    assert answer.users[0].score > answer.users[1].score
    assert answer.unknown_users == ["who", "fresh", "stranger-things"]
    assert answer.items == []
    with pytest.raises(UnknownUser, match="user_id='who', expected a user of the online store"):
        similar(engine, user_id="who", among=["odd"])


def test_a_bundle_that_compares_nothing_says_so(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.bundle.ranker, "user_vectors", lambda _: None)
    with pytest.raises(CapabilityMissing, match="has no vectors of users"):
        similar(engine, user_id="known", among=["known"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "expected item_id or user_id"),
        ({"user_id": "u"}, "user_id and among go together"),
        ({"among": ["u"]}, "expected item_id or user_id"),
        ({"item_id": "i", "among": ["u"]}, "among is given with item_id"),
        ({"item_id": "i", "user_id": "v", "among": ["u"]}, "among is given with item_id"),
        ({"user_id": "u", "among": ["v"], "brands": ["b"]}, "brands is given with user_id"),
    ],
)
def test_a_request_for_what_is_similar_is_of_one_kind(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SimilarRequest.model_validate(asked)


def test_a_search_joins_words_and_meaning(engine: Engine) -> None:
    answer = search(engine, query="text 4", k=10)
    assert ids_of(answer)[0] == "i4"
    assert answer.items[0].lexical == pytest.approx(1 / 61)
    assert answer.items[0].semantic == 0
    assert (answer.ranked_by.lexical, answer.ranked_by.semantic, answer.ranked_by.personal) == (1, 0, 0)
    odd = search(engine, query="odd 4", k=10)
    assert set(ids_of(odd)) == {"i4", "i1", "i3", "i5", "i7", "i9", "i11"}
    assert (odd.ranked_by.lexical, odd.ranked_by.semantic) == (1, 1)
    for item in odd.items:
        assert item.score == pytest.approx(item.lexical + item.semantic + item.personal)
    assert ids_of(search(engine, query="nothing here", k=10)) == []
    assert ids_of(search(engine, query="odd", k=10, max_price=3.0)) == ids_of(
        search(engine, query="odd", allow=["i1", "i3"])
    )


def test_a_search_is_personal_where_something_is_known(engine: Engine) -> None:
    plain, own = search(engine, query="odd", k=6), search(engine, query="odd", k=6, history=["i0"], personal=2.0)
    assert own.ranked_by.personal == 2
    personal = {item.item_id: item.personal for item in own.items}
    assert personal["i11"] == pytest.approx(2 / 61), "the model's first"
    assert personal["i1"] == pytest.approx(2 / 66), "its last of those that were found"
    by_score = sorted(own.items, key=lambda item: -item.score)
    assert [item.score for item in by_score] == [item.score for item in own.items]
    assert ids_of(own) != ids_of(plain)
    assert cast(FakeRanker, engine.bundle.ranker).asked[-1]["exclude_seen"] is False
    for nobody in (
        plain,
        search(engine, query="odd", user_id="who"),
        search(engine, query="odd", history=["i0"], personal=0),
    ):
        assert nobody.ranked_by.personal == 0
    assert search(engine, query="odd", user_id="who").cold_start is True
    assert "i1" in ids_of(search(engine, query="odd", k=10, user_id="known")), "what was seen is found"
    assert "i1" not in ids_of(search(engine, query="odd", k=10, user_id="known", exclude_seen=True))


@pytest.mark.parametrize(("query", "place"), [("गाना", 0), ("吉他", 2), ("children", 3), ("8", 4), ("the", None)])
def test_words_of_any_script_are_found(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, query: str, place: int | None
) -> None:
    texts = ["गाना", "गुनी", "木吉他弦", "The children's", "Usb 8", *[""] * 7]
    monkeypatch.setitem(vars(engine.bundle.ranker.vectors.catalogue), "texts", texts)
    found = [] if place is None else [engine.bundle.ranker.vectors.ids.item_id(place + 1)]
    assert ids_of(search(engine, query=query)) == found


def test_a_catalogue_without_words_cannot_be_searched(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(engine.bundle.ranker.vectors.catalogue), "texts", [""] * 12)
    with pytest.raises(CapabilityMissing, match="whose catalogue has no words"):
        search(engine, query="odd")


def test_a_query_of_blanks_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        SearchRequest(query="   ")


def test_items_and_users_are_read(engine: Engine) -> None:
    record = engine.read_item("i3")
    assert (record.item_id, record.price, record.text) == ("i3", 3.0, "Text of 3")
    assert record.attributes["item_n_events"] == 3
    assert record.attributes["item_mean_rating"] is None
    assert record.now == {"item_mean_rating": 3.0, "item_n_ratings": 3}
    with pytest.raises(UnknownItem, match="Cannot read the item: item_id='gone'"):
        engine.read_item("gone")
    user = engine.read_user("known")
    assert [(one.item_id, one.label, one.event, one.rating) for one in user.history] == [
        ("i1", "Title 1", None, 5.0),
        ("i2", "Title 2", None, None),
    ]
    assert (user.n_seen, user.attributes, user.own_words) == (2, "age 30", "crisp")
    assert engine.read_user("stranger-things").history[0].label is None
    with pytest.raises(UnknownUser, match="user_id='who', expected a user of the online store"):
        engine.read_user("who")
