"""What is written for a user: a text of each of their best items, by the rating that is predicted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.settings.reranking import RerankSettings
from core.settings.tree import Recipe
from flows.audience.author import BATCH, TEXTS, Assignment, Author
from flows.errors import NoWriter
from recommender.bundle.loading import Bundle
from recommender.explaining.explainer import Reason, Statement
from recommender.explaining.facts import Fact
from recommender.inputs.texts import count_words
from recommender.inputs.user import UserState
from recommender.writing.decoding import Decoding
from serving.api.feedback import FeedbackRequest
from serving.api.recommend import RecommendRequest
from serving.engine import Engine
from tests.unit.serving.fake_engine import FakeFeatures, FakeRanker, FakeScorer, catalogue, explainer_of

TASK = Assignment(k=2, kind="review", max_words=9, seed=4)


class Pen:
    max_tokens = 128

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.asked: list[Any] = []
        self.decoded: Decoding | None = None

    def write(self, requests: Sequence[Any], seed: int, decoding: Decoding) -> list[str]:
        self.decoded = decoding
        self.batches.append(len(requests))
        self.asked += requests
        return [f"review {request.rating} {seed} {request.item}" for request in requests]


def bundle_of(scorer: bool = True, rerank: RerankSettings | None = None) -> Bundle:
    made = SimpleNamespace(
        manifest=SimpleNamespace(recipe=Recipe(rerank=rerank or RerankSettings())),
        catalogue=catalogue(),
        ranker=FakeRanker(),
        scorer=FakeScorer() if scorer else None,
        writer=None,
        generative=None,
        explainer=None,
    )
    return cast(Bundle, made)


def write(
    users: Sequence[str], bundle: Bundle, task: Assignment = TASK, pen: Pen | None = None
) -> list[dict[str, Any]]:
    bundle.writer = bundle.writer or cast(Any, pen or Pen())
    table = Author("m:1", bundle, FakeFeatures()).write(users, task)
    assert table.schema == TEXTS
    return table.to_pylist()


def test_each_user_has_a_text_of_each_of_their_best_items() -> None:
    rows = write(["known", "nobody-knows", "fresh"], bundle_of())
    assert [(row["user_id"], row["item_id"], row["position"]) for row in rows] == [
        ("known", "i11", 1), ("known", "i10", 2), ("fresh", "i0", 1), ("fresh", "i1", 2),
    ]  # fmt: skip
    first = rows[0]
    assert first["text"] == "review 3.2 4 Text of 11"
    assert (first["kind"], first["rating"], first["seed"], first["model"]) == ("review", 3.2, 4, "m:1")


def test_the_list_is_the_one_that_the_service_answers() -> None:
    for rerank in (RerankSettings(), RerankSettings(kind="mmr", strength=0.9, pool=12)):
        bundle = bundle_of(rerank=rerank)
        engine = Engine(model="m:1", bundle=bundle, features=FakeFeatures(), max_k=10)
        served = engine.recommend(RecommendRequest(user_id="known", k=5)).items
        written = write(["known"], bundle, Assignment(5, "review", 9, 4))
        assert [(row["item_id"], row["score"]) for row in written] == [(one.item_id, one.score) for one in served]


class LongPen(Pen):
    """Writes as much of a text as it may."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def write(self, requests: Sequence[Any], seed: int, decoding: Decoding) -> list[str]:
        return [decoding.fit(f"{self.text[: decoding.max_new_tokens]}.")] * len(requests)


@pytest.mark.parametrize(
    "text",
    [
        "这把吉他很好。声音非常温暖，" * 9,
        "Extraordinarily comfortable instruments! Wonderful-sounding hand-finished fingerboards, " * 5,
    ],
)
@pytest.mark.parametrize("kind", ["review", "reason"])
@pytest.mark.parametrize("max_words", [None, 5, 12])
def test_the_text_is_the_one_that_the_service_answers(text: str, kind: Any, max_words: int | None) -> None:
    bundle = bundle_of()
    bundle.explainer, bundle.writer = explainer_of(catalogue()), cast(Any, LongPen(text))
    written = Author("m:1", bundle, FakeFeatures()).write(["known"], Assignment(3, kind, max_words, 4)).to_pylist()
    engine = Engine(model="m:1", bundle=bundle, features=FakeFeatures(), max_k=10)
    for row in written:
        asked = FeedbackRequest(user_id="known", item_id=row["item_id"], kind=kind, max_words=max_words, seed=4)
        assert row["text"] == engine.feedback(asked).text
        assert max_words is None or count_words(row["text"]) <= max_words


def test_nothing_is_written_of_items_that_may_not_be_shown() -> None:
    for rerank in (RerankSettings(), RerankSettings(kind="mmr", strength=0.9, pool=12)):
        bundle = bundle_of(rerank=rerank)
        bundle.writer = cast(Any, Pen())
        author = Author("m:1", bundle, FakeFeatures())
        rows = author.write(["known"], Assignment(3, "review", 9, 4), hidden=["i11", "i9"]).to_pylist()
        assert len(rows) == 3
        assert not {row["item_id"] for row in rows} & {"i11", "i9"}


def test_without_a_scorer_no_rating_is_said() -> None:
    (first, _) = write(["known"], bundle_of(scorer=False))
    assert first["rating"] is None
    assert first["text"].startswith("review None")


def test_texts_are_written_in_batches() -> None:
    pen = Pen()
    write(["known"], bundle_of(), Assignment(10, "review", 9, 1), pen)
    assert pen.batches == [BATCH, 2]
    assert pen.decoded == Decoding(max_new_tokens=52, max_words=9)
    write(["known"], bundle_of(), Assignment(2, "review", 9, 1, "greedy"), pen)
    assert pen.decoded == Decoding(max_new_tokens=52, temperature=0.0, max_words=9)


def test_items_as_they_are_now_are_read_where_the_ranker_reads_them() -> None:
    bundle = bundle_of()
    bundle.ranker.reads_items_then = True  # type: ignore[misc]
    write(["known"], bundle)
    users = cast(FakeRanker, bundle.ranker).users
    assert [isinstance(user, UserState) and user.items_then is not None for user in users] == [True]


def test_a_reason_is_what_the_explainer_says_within_so_many_words_and_needs_no_writer() -> None:
    asked: list[tuple[Any, ...]] = []

    def explain(user: UserState, item_id: str, nearest: Any, seed: int, max_words: int | None) -> Reason:
        asked.append((user.items, item_id, nearest(user, item_id, 1), seed, max_words))
        like = Statement(Fact("similar", "", 1, items=("i1",)), 0.5, ("Like i1.",))
        kind = Statement(Fact("category", "tea", 7), 0.1, ("It is of the kind that you chose so often before.",))
        return Reason((like, kind))

    bundle = bundle_of()
    bundle.explainer = cast(Any, SimpleNamespace(explain=explain))
    table = Author("m:1", bundle, FakeFeatures()).write(["known"], Assignment(1, "reason", 9, 4))
    (row,) = table.to_pylist()
    assert (row["item_id"], row["rating"], row["text"]) == ("i11", None, "Like i1.")
    (fact,) = json.loads(row["facts"])
    assert (fact["kind"], fact["item_ids"], fact["text"]) == ("similar", ["i1"], "Like i1."), "nothing that is cut off"
    assert asked == [(("i1", "i2"), "i11", [("i1", 1.0)], 4, 9)]
    assert write(["known"], bundle_of())[0]["facts"] is None, "a review says none"


@pytest.mark.parametrize(("kind", "part"), [("reason", "an explainer"), ("review", "a writer")])
def test_a_bundle_that_lacks_the_part_says_which(kind: Any, part: str) -> None:
    with pytest.raises(NoWriter, match=f"model=m:1 without {part}, expected one trained on"):
        Author("m:1", bundle_of(), FakeFeatures()).write(["known"], Assignment(1, kind, None, 4))
