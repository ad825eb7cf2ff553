"""What each request is answered: known users, visitors with a history, nobody, and what the bundle lacks."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import pytest

from core.settings.tree import Recipe
from recommender.bundle.loading import Bundle
from recommender.errors import NotFinite
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.user import UserState
from recommender.ranking.baseline_ranker import BaselineRanker
from serving.api.feedback import FeedbackRequest
from serving.api.recommend import Recommendations, RecommendationsList, RecommendRequest
from serving.api.score import ScoreRequest
from serving.engine import AnswerAll, Engine
from serving.errors import BadRequest, CapabilityMissing, UnknownItem
from tests.unit.serving.fake_engine import (
    NOW,
    FakeFeatures,
    FakeRanker,
    FakeScorer,
    FakeWriter,
    catalogue,
    explainer_of,
    ids_of,
    make,
)


@pytest.fixture
def engine() -> Engine:
    return make()


def test_one_ranker_for_the_user_lists_and_tells_the_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = engine.bundle.ranker
    own = FakeRanker()
    monkeypatch.setattr(shared, "for_one", lambda user: shared.users.append(user) or own)
    monkeypatch.setattr(shared, "top_k", None)
    monkeypatch.setattr(shared, "parts_of", None)
    answer = engine.recommend(RecommendRequest(history=["i1"], k=2))
    assert [user.items for user in shared.users] == [("i1",)]
    assert ids_of(answer) == ids_of(make().recommend(RecommendRequest(history=["i1"], k=2)))
    assert [one["user"] for one in own.asked] == shared.users


def test_a_known_user_gets_new_items_with_reasons(engine: Engine) -> None:
    answer = engine.recommend(RecommendRequest(user_id="known", k=3))
    assert ids_of(answer) == ["i11", "i10", "i9"]
    assert (answer.model, answer.user_id, answer.cold_start, answer.reason) == ("m:1", "known", False, None)
    assert answer.items[0].because == ["i1", "i2"]
    assert answer.items[0].part == "sequence"
    assert [item.matches for item in answer.items[:2]] == [["category"], []]  # i11 is of the category of i1


def test_an_item_comes_with_what_a_page_shows(engine: Engine) -> None:
    (shown,) = engine.recommend(RecommendRequest(user_id="known", k=1)).items
    assert (shown.label, shown.category, shown.brand, shown.price) == ("Title 11", "c1", None, 11.0)
    by_id = {item.item_id: item for item in engine.recommend(RecommendRequest(k=10)).items}
    assert by_id["i3"].label == "Text of 3"
    assert all(item.price == float(item_id[1:]) for item_id, item in by_id.items())


def test_seen_items_come_back_when_asked_for(engine: Engine) -> None:
    answer = engine.recommend(RecommendRequest(user_id="known", k=10, exclude_seen=False))
    assert "i2" in ids_of(answer)
    (again,) = [item for item in answer.items if item.item_id == "i2"]
    assert again.because == ["i1"]  # an item is no reason for itself


def test_excluded_items_do_not_come_back_and_unknown_ones_do_no_harm(engine: Engine) -> None:
    assert ids_of(engine.recommend(RecommendRequest(user_id="known", k=2, exclude=["i11", "no such"]))) == ["i10", "i9"]


@pytest.mark.parametrize("by", ["blend", "generative"])
def test_categories_and_prices_filter_whoever_ranks(engine: Engine, by: Literal["blend", "generative"]) -> None:
    def listed(**filters: Any) -> list[str]:
        return ids_of(engine.recommend(RecommendRequest(user_id="known", by=by, **filters)))

    assert listed(categories=["c0", "c4"]) == ["i10", "i4", "i0"]
    assert listed(categories=["c0", "c4"], max_price=9.5) == ["i4", "i0"]
    assert listed(categories=["c0", "c4"], max_price=9.5, exclude=["i4"]) == ["i0"]
    assert listed(categories=["c"]) == listed(max_price=0.0, categories=["c4"]) == []


def test_generative_retrieval_answers_where_it_is_asked_for(engine: Engine) -> None:
    answer = engine.recommend(RecommendRequest(user_id="known", k=2, by="generative"))
    assert [(item.item_id, item.part) for item in answer.items] == [("i11", "generative"), ("i10", "generative")]
    assert answer.items[0].because == ["i1", "i2"]
    assert not cast(FakeRanker, engine.bundle.ranker).asked
    with pytest.raises(
        CapabilityMissing, match=r"model=m:1 without a generative part, expected one trained with recipe.generative"
    ) as caught:
        make(generative=False).recommend(RecommendRequest(user_id="known", by="generative"))
    assert caught.value.status == 501


def test_a_bare_history_is_a_user_without_a_name(engine: Engine) -> None:
    answer = engine.recommend(RecommendRequest(history=["i11", "i3", "i11"], k=2))
    assert (answer.user_id, answer.cold_start) == (None, False)
    assert ids_of(answer) == ["i10", "i9"]
    ranker = cast(FakeRanker, engine.bundle.ranker)
    assert ranker.asked[-1]["user"].items == ("i3", "i11")


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ({"user_id": "nobody"}, "unknown user"),
        ({"user_id": "fresh"}, "the user has no history"),
        ({"user_id": "stranger-things"}, "no item of the user's history is in the catalogue of this model"),
        ({}, "neither a user nor a history is given"),
        ({"history": []}, "neither a user nor a history is given"),
    ],
)
def test_a_cold_start_is_answered_and_marked(engine: Engine, who: dict[str, Any], reason: str) -> None:
    answer = engine.recommend(RecommendRequest(**who, k=2))
    assert ids_of(answer) == ["i0", "i1"]
    assert (answer.cold_start, answer.reason) == (True, reason)
    assert answer.items[0].because == []
    assert answer.items[0].part == "popularity"
    assert answer.items[0].matches == []
    scores = engine.score(ScoreRequest(**who, item_ids=["i1"]))
    assert (scores.cold_start, scores.reason) == (True, reason)


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ({}, "neither a user nor a history is given; answered by the user's attributes"),
        ({"user_id": "nobody"}, "unknown user; answered by the user's attributes"),
    ],
)
def test_the_description_of_a_cold_start_user_is_read(engine: Engine, who: dict[str, Any], reason: str) -> None:
    answer = engine.recommend(RecommendRequest(**who, about="34, cook", k=2))
    assert (answer.cold_start, answer.reason, answer.items[0].part) == (True, reason, "profile")
    # Generative retrieval does not read it, and does not claim to.
    assert (
        engine.recommend(RecommendRequest(**who, about="34, cook", k=2, by="generative")).reason
        == reason.partition(";")[0]
    )
    engine.feedback(FeedbackRequest(**who, about="34, cook", item_id="i1"))
    assert "34, cook" in cast(FakeWriter, engine.bundle.writer).asked[-1].profile


def test_attributes_in_the_store_come_before_the_description_of_the_request(engine: Engine) -> None:
    assert engine.recommend(RecommendRequest(user_id="fresh", about="34, cook", k=1)).items[0].part == "popularity"
    engine.recommend(RecommendRequest(user_id="known", about="34, cook", k=1))
    assert cast(FakeRanker, engine.bundle.ranker).asked[-1]["user"].attributes == "age 30"


@pytest.mark.parametrize("k", [11, 1000])
def test_k_out_of_range_is_refused(engine: Engine, k: int) -> None:
    with pytest.raises(BadRequest, match=rf"Cannot recommend: k={k}, expected 1 to 10\. Ask for fewer items\."):
        engine.recommend(RecommendRequest(k=k))


def test_unknown_items_are_listed_a_few_of_them(engine: Engine) -> None:
    with pytest.raises(UnknownItem, match=r"'z9' and 15 more, expected items of the catalogue of m:1"):
        engine.score(ScoreRequest(item_ids=[f"z{n}" for n in range(25)]))
    with pytest.raises(UnknownItem, match="item_id='x'"):
        engine.feedback(FeedbackRequest(item_id="x"))


def test_unknown_items_of_a_bare_history_are_skipped_and_named(engine: Engine) -> None:
    some, none = ["i1", "x", "y", "x", "i2"], ["x", "y"]
    answers: list[tuple[Any, Any]] = [
        (engine.recommend(RecommendRequest(history=some, k=2)), engine.recommend(RecommendRequest(history=none, k=2))),
        (
            engine.score(ScoreRequest(history=some, item_ids=["i5"])),
            engine.score(ScoreRequest(history=none, item_ids=["i5"])),
        ),
        (
            engine.feedback(FeedbackRequest(history=some, item_id="i5")),
            engine.feedback(FeedbackRequest(history=none, item_id="i5")),
        ),
    ]
    for warm, cold in answers:
        assert (warm.skipped_history, cold.skipped_history) == (["x", "y"], ["x", "y"])
    for warm, cold in answers[:2]:
        assert (warm.cold_start, warm.reason) == (False, None)
        assert (cold.cold_start, cold.reason) == (True, "no item of the history is in the catalogue of this model")
    assert cast(FakeRanker, engine.bundle.ranker).asked[0]["user"].items == ("i1", "i2")
    assert engine.recommend(RecommendRequest(history=["i1"], k=1)).skipped_history == []
    assert engine.recommend(RecommendRequest(user_id="stranger-things", k=1)).skipped_history == []


def test_scores_come_in_the_order_asked(engine: Engine) -> None:
    answer = engine.score(ScoreRequest(user_id="known", item_ids=["i5", "i1", "i5"]))
    shown = [(s.item_id, s.p_like, s.rating, s.median_rating) for s in answer.items]
    assert shown == [(i, 0.5, 3.2, 3.0) for i in ("i5", "i1", "i5")]
    assert answer.cold_start is False
    (ratings,) = cast(FakeScorer, engine.bundle.scorer).asked
    assert (ratings.mean.tolist(), ratings.n.tolist()) == ([5, 1, 5], [5, 1, 5])  # as the online store has them now


def test_feedback_is_written_for_the_given_rating(engine: Engine) -> None:
    answer = engine.feedback(FeedbackRequest(user_id="known", item_id="i5", rating=2.0, seed=9))
    assert (answer.text, answer.rating, answer.rating_source, answer.seed) == ("review 2.0 9", 2.0, "given", 9)


def test_feedback_without_a_rating_is_written_for_the_predicted_one(engine: Engine) -> None:
    answer = engine.feedback(FeedbackRequest(user_id="known", item_id="i5", seed=9))
    assert (answer.text, answer.rating, answer.rating_source) == ("review 3.2 9", 3.2, "predicted")
    assert (answer.facts, answer.grounded) == ([], None)
    without = make(scorer=False).feedback(FeedbackRequest(user_id="known", item_id="i5", seed=9))
    assert (without.text, without.rating, without.rating_source) == ("review None 9", None, "none")


def test_a_reason_comes_with_its_facts_and_needs_no_writer() -> None:
    engine = make(scorer=False, writer=False)
    request = FeedbackRequest(user_id="known", item_id="i5", kind="reason", seed=9)
    answer = engine.feedback(request)
    assert (answer.kind, answer.grounded, answer.rating, answer.rating_source) == ("reason", "template", None, "none")
    fact = next(fact for fact in answer.facts if fact.kind == "together")
    assert (fact.item_ids, fact.support, fact.numbers["n_both"]) == (["i2"], 4, 4)
    assert "Title 2" in fact.text
    assert "4 customers" in fact.text
    assert answer.text == " ".join(one.text for one in answer.facts)
    assert engine.feedback(request) == answer
    given = engine.feedback(FeedbackRequest(item_id="i5", kind="reason", rating=2.0))
    assert (given.rating, given.rating_source) == (2.0, "given")
    with pytest.raises(UnknownItem, match="Cannot give reasons: item_id='x'"):
        engine.feedback(FeedbackRequest(item_id="x", kind="reason"))


def test_the_history_of_a_request_is_what_a_reason_relates_to(engine: Engine) -> None:
    answer = engine.feedback(FeedbackRequest(history=["gone", "i2"], item_id="i5", kind="reason", seed=1))
    assert "together" in [fact.kind for fact in answer.facts]
    assert answer.skipped_history == ["gone"]
    cold = engine.feedback(FeedbackRequest(item_id="i5", kind="reason", seed=1))
    assert not [fact for fact in cold.facts if fact.item_ids]
    assert cold.text


def test_the_writer_reads_the_user_and_the_item(engine: Engine) -> None:
    engine.feedback(FeedbackRequest(user_id="known", item_id="i5", seed=9))
    (asked,) = cast(FakeWriter, engine.bundle.writer).asked
    assert asked.item == "Text of 5"
    assert asked.profile == "age 30\ngives 5.0 stars\noften says crisp\nlately Title 2; Title 1"


def test_a_seed_is_drawn_and_told(engine: Engine) -> None:
    seeds = {engine.feedback(FeedbackRequest(item_id="i5")).seed for _ in range(5)}
    assert len(seeds) > 1
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_what_the_bundle_lacks_is_said_with_the_data_that_it_needs() -> None:
    bare = make(scorer=False, writer=False, generative=False, explainer=False)
    assert bare.capabilities == {
        "recommend": True, "recommend_generative": False, "score": False, "feedback": False, "reasons": False,
        "similar": True, "search": True, "in_stock": False,
    }  # fmt: skip
    with pytest.raises(
        CapabilityMissing, match=r"model=m:1 without a scorer, expected one trained on ratings"
    ) as caught:
        bare.score(ScoreRequest(item_ids=["i1"]))
    assert caught.value.status == 501
    with pytest.raises(CapabilityMissing, match=r"model=m:1 without a writer, expected one trained on review texts"):
        bare.feedback(FeedbackRequest(item_id="i1"))
    with pytest.raises(CapabilityMissing, match=r"model=m:1 without an explainer, expected one trained on choices"):
        bare.feedback(FeedbackRequest(item_id="i1", kind="reason"))


@pytest.mark.parametrize(("scorer", "writer"), [(True, True), (False, False)])
def test_warming_uses_every_part_there_is(scorer: bool, writer: bool) -> None:
    engine = make(scorer, writer, generative=scorer)
    engine.warm()
    engine.warm_encoder()
    assert not scorer or len(cast(FakeRanker, engine.bundle.generative).asked) == 1
    with_history, told_of = (asked["user"] for asked in cast(FakeRanker, engine.bundle.ranker).asked)
    assert with_history.items
    assert told_of.attributes
    assert not writer or len(cast(FakeWriter, engine.bundle.writer).asked) == 1


def test_where_popularity_serves_a_known_history_is_no_cold_start() -> None:
    """The history decides nothing but what is left out, so no reason is drawn from it."""
    vectors = ItemVectors.from_rows(catalogue(), np.ones((12, 2)))
    bundle = SimpleNamespace(
        manifest=SimpleNamespace(recipe=Recipe()),
        catalogue=catalogue(),
        ranker=BaselineRanker(vectors, "popularity"),
        scorer=FakeScorer(),
        writer=FakeWriter(),
        generative=None,
        explainer=explainer_of(catalogue()),
    )
    engine = Engine(model="m:2", bundle=cast(Bundle, bundle), features=FakeFeatures(), max_k=12)
    engine.warm()
    engine.warm_encoder()
    answer = engine.recommend(RecommendRequest(user_id="known", k=12))
    assert ids_of(answer) == [f"i{n}" for n in (11, 10, 9, 8, 7, 6, 5, 4, 3, 0)]
    assert (answer.cold_start, answer.reason) == (False, None)
    assert {(item.part, tuple(item.because)) for item in answer.items} == {("popularity", ())}
    for who, reason in (
        ({"user_id": "nobody"}, "unknown user"),
        ({"user_id": "stranger-things"}, "no item of the user's history is in the catalogue of this model"),
        ({"about": "34, cook"}, "neither a user nor a history is given"),
    ):
        cold = engine.recommend(RecommendRequest(**cast(dict[str, Any], who), k=2))
        assert (ids_of(cold), cold.cold_start, cold.reason) == (["i11", "i10"], True, reason)
    assert ids_of(
        engine.recommend(RecommendRequest(history=["i11"], k=2, exclude=["i10"], categories=["c9", "c8", "c0"]))
    ) == [
        "i9",
        "i8",
    ]
    assert engine.capabilities == {
        "recommend": True, "recommend_generative": False, "score": True, "feedback": True, "reasons": True,
        "similar": False, "search": True, "in_stock": False,
    }  # fmt: skip
    assert engine.feedback(FeedbackRequest(user_id="known", item_id="i5", kind="reason")).grounded == "template"
    assert [score.item_id for score in engine.score(ScoreRequest(user_id="known", item_ids=["i5"])).items] == ["i5"]
    with pytest.raises(CapabilityMissing, match="without a generative part"):
        engine.recommend(RecommendRequest(user_id="known", by="generative"))


@pytest.mark.parametrize("reads", [True, False])
def test_a_visitor_is_ranked_by_the_items_as_they_are_now_where_the_ranker_reads_that(reads, monkeypatch):
    from serving.visitor import identify

    monkeypatch.setattr(FakeRanker, "reads_items_then", reads)
    bundle = SimpleNamespace(catalogue=catalogue(), ranker=FakeRanker())
    for request in (RecommendRequest(history=["i1"]), RecommendRequest()):
        assert identify(request, FakeFeatures(), bundle).state.items_then is (NOW if reads else None)


def test_requests_that_wait_together_are_answered_each_by_itself(engine: Engine) -> None:
    requests = [
        RecommendRequest(user_id="known", k=3),
        RecommendRequest(k=99),
        RecommendRequest(history=["i1"], k=2),
        RecommendRequest.model_validate({"users": [{"user_id": "known"}, {"history": ["i2"]}], "k": 2}),
        RecommendRequest(k=1),
    ]
    found = engine.recommend_together(requests)
    assert [type(one).__name__ for one in found] == [
        "Recommendations", "BadRequest", "Recommendations", "RecommendationsList", "Recommendations",
    ]  # fmt: skip
    for place in (0, 2, 4):
        alone = engine.recommend(requests[place])
        assert found[place] == alone.model_copy(update={"recommendation_id": found[place].recommendation_id})


def test_the_users_of_one_request_are_asked_for_by_themselves(engine: Engine) -> None:
    asked: list[tuple[str, int]] = []

    def answers(name: str) -> AnswerAll:
        def answer(requests: Sequence[RecommendRequest]) -> list[Recommendations | Exception]:
            asked.append((name, len(requests)))
            return engine.recommend_all(requests)

        return answer

    many = RecommendRequest.model_validate({"users": [{"user_id": "known"}, {"history": ["i2"]}, {}], "k": 1})
    one = RecommendRequest(k=2)
    found = engine.recommend_together([one, many, one], answers("all"), answers("users"))
    assert [len(answer.items) for answer in (found[0], found[2]) if isinstance(answer, Recommendations)] == [2, 2]
    assert isinstance(found[1], RecommendationsList)
    assert asked == [("all", 2), ("users", 3)]


class Panic(BaseException):
    """What a library that is written in Rust raises."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotFinite("Cannot use scores", got="nan", expected="numbers", do="fit again"), NotFinite),
        (Panic("boom"), RuntimeError),
    ],
)
def test_a_user_whom_nothing_can_be_ranked_for_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, error: BaseException, told: type[Exception]
) -> None:
    ranker = engine.bundle.ranker

    def broken(users: Sequence[UserState]) -> list[Any]:
        raise error

    monkeypatch.setattr(ranker, "for_each", broken)
    found = engine.recommend_together([RecommendRequest(user_id="known", k=1), RecommendRequest(history=["i1"], k=1)])
    assert all(isinstance(one, Recommendations) for one in found)
    for_one = ranker.for_one

    def broken_for_new(user: UserState) -> Any:
        return broken([user]) if user.items == ("i2",) else for_one(user)

    monkeypatch.setattr(ranker, "for_one", broken_for_new)
    requests = [RecommendRequest(history=[item], k=1) for item in ("i2", "i1", "i3")]
    found = engine.recommend_together(requests)
    assert [type(one) for one in found] == [told, Recommendations, Recommendations]
