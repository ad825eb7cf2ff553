"""Texts of many pairs, and how long they are."""

from __future__ import annotations

from itertools import product
from typing import cast

import pytest

from recommender.explaining.explainer import Explainer
from recommender.writing.decoding import N_BEAMS, Decoding
from recommender.writing.length import Length
from serving.api.feedback import FeedbackRequest
from serving.engine import Engine
from serving.errors import BadRequest
from tests.unit.serving.fake_engine import FakeWriter, make


@pytest.fixture
def engine() -> Engine:
    return make()


def test_each_of_many_pairs_is_its_own_text_by_one_seed(engine: Engine) -> None:
    pairs = [{"user_id": "known", "item_id": "i3"}, {"item_id": "i4", "rating": 2.0}, {"item_id": "i3"}]
    request = FeedbackRequest.model_validate({"pairs": pairs, "style": "short", "max_words": 9})
    drafts = engine.drafts(request, max_pairs=3)
    alone = [engine.drafts(FeedbackRequest.model_validate(pair))[0] for pair in pairs]
    assert [draft.text.asked for draft in drafts] == [draft.text.asked for draft in alone]
    answers = [draft.finished("said") for draft in drafts]
    assert [(one.user_id, one.item_id, one.rating_source, one.text) for one in answers] == [
        ("known", "i3", "predicted", "said"),
        (None, "i4", "given", "said"),
        (None, "i3", "predicted", "said"),
    ]
    assert len({one.seed for one in answers}) == 1
    assert {draft.text.length for draft in drafts} == {Length.of("short", 9)}
    with pytest.raises(BadRequest, match=r"pairs=3, expected at most serving.max_pairs=2"):
        engine.drafts(request, max_pairs=2)


def test_a_reason_is_as_short_as_asked_for_and_has_the_facts_that_it_says(engine: Engine) -> None:
    pairs = [{"user_id": "known", "item_id": "i5"}, {"item_id": "i5"}]
    request = FeedbackRequest.model_validate({"pairs": pairs, "kind": "reason", "seed": 9})
    whole, cold = (draft.answer for draft in engine.drafts(request))
    assert all(draft.text is None for draft in engine.drafts(request))
    assert whole == engine.feedback(FeedbackRequest(user_id="known", item_id="i5", kind="reason", seed=9))
    assert cold.user_id is None
    assert len(whole.facts) == 2
    short = engine.feedback(FeedbackRequest(user_id="known", item_id="i5", kind="reason", seed=9, style="short"))
    assert whole.text.startswith(short.text)
    assert short.facts == whole.facts[:1]
    few = engine.feedback(FeedbackRequest(user_id="known", item_id="i5", kind="reason", seed=9, max_words=3))
    assert (len(few.text.split()), len(few.facts)) == (3, 1)


def test_a_name_with_a_full_stop_ends_no_sentence_of_a_reason(engine: Engine) -> None:
    shop_of_names = {"i1": "Hi! by Dr. Martens, No. 5 St. Louis", "i2": "Mr. Coffee vs. Mrs. Tea"}
    explainer = cast(Explainer, engine.bundle.explainer)
    titles = [shop_of_names.get(item, "No. 1") for item in explainer.facts.catalogue.ids]
    vars(explainer.facts)["titles"] = titles
    for style, seed in product(("short", "medium"), range(12)):
        request = FeedbackRequest(user_id="known", item_id="i5", kind="reason", seed=seed, style=style)
        answer = engine.feedback(request)
        assert answer.text == " ".join(fact.text for fact in answer.facts)
        assert len(answer.facts) == (1 if style == "short" else 2)
        assert set(answer.facts[0].item_ids) <= set(shop_of_names)
        assert all(shop_of_names[item] in fact.text for fact in answer.facts for item in fact.item_ids)


def test_a_text_that_is_written_at_once_is_cut_too(engine: Engine) -> None:
    answer = engine.feedback(FeedbackRequest(item_id="i3", rating=4, seed=5, max_words=1))
    assert answer.text == "review."
    assert cast(FakeWriter, engine.bundle.writer).tokens == [20]
    engine.feedback(FeedbackRequest(item_id="i3", style="long"))
    assert cast(FakeWriter, engine.bundle.writer).tokens[-1] == 100  # it sees no more


def test_words_are_found_as_asked_for(engine: Engine) -> None:
    for strategy in ("nucleus", "greedy", "beam"):
        engine.feedback(FeedbackRequest(item_id="i3", decoding=strategy, max_words=5))
    assert cast(FakeWriter, engine.bundle.writer).decoded == [
        Decoding(36, max_words=5),
        Decoding(36, temperature=0.0, max_words=5),
        Decoding(36, n_beams=N_BEAMS, max_words=5),
    ]
