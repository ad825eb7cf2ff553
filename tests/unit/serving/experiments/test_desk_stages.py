"""What the desk notes of the stages of answers: counted by variant, and in the traces of requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import Context
from typing import Any

import pytest

from core.logs.traces import Trace, begin_trace
from serving.api.recommend import Recommendations, RecommendRequest
from tests.unit.serving.experiments.test_desk import CHAMPION, ENDPOINT, MODEL, Desk, FakeEngine, desk

__all__ = ["desk"]


def test_what_each_stage_takes_is_counted_for_each_answer_by_its_variant(desk: Desk) -> None:
    desk.begin("split", 0.5)
    answers = [desk.ask(user_id=f"user-{n}") for n in range(20)]
    variants = ["new" if answer.model.endswith("v2") else "champion" for answer in answers]
    assert [(experiment, variant) for experiment, variant, _ in desk.counts.passed] == [
        ("try", one) for one in variants
    ]
    for _, _, seconds in desk.counts.passed:
        assert list(seconds) == ["rank", "log"]
        assert all(taken > 0 for taken in seconds.values())


def test_the_stages_of_what_fails_are_not_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_all(engine: FakeEngine, requests: Sequence[RecommendRequest]) -> list[Any]:
        return [ValueError("no") if one.user_id == "a" else engine.recommend(one) for one in requests]

    monkeypatch.setattr(FakeEngine, "recommend_all", answer_all)
    many = RecommendRequest.model_validate({"users": [{"user_id": "a"}, {"user_id": "b"}]})
    found = desk.desk._recommend_all(list(many.each()), CHAMPION.value, ENDPOINT)
    assert [type(one) for one in found] == [ValueError, Recommendations]
    assert [(experiment, variant) for experiment, variant, _ in desk.counts.passed] == [("", "champion")]


def test_answers_that_are_made_together_have_equal_shares_of_a_stage(desk: Desk) -> None:
    many = RecommendRequest.model_validate({"users": [{"user_id": "a"}, {"user_id": "b"}]})
    started = time.perf_counter()
    desk.desk.recommend_together([many], CHAMPION.value, ENDPOINT)
    took = time.perf_counter() - started
    first, second = desk.counts.passed
    assert first == second
    assert 0 < 2 * sum(first[2].values()) <= took


def test_each_answer_that_is_made_together_waited_for_all_of_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_all(engine: FakeEngine, requests: Sequence[RecommendRequest]) -> list[Any]:
        time.sleep(0.04)
        return [engine.recommend(one) for one in requests]

    monkeypatch.setattr(FakeEngine, "recommend_all", answer_all)
    many = RecommendRequest.model_validate({"users": [{"user_id": f"u{n}"} for n in range(4)]})
    desk.desk.recommend_together([many], CHAMPION.value, ENDPOINT)
    desk.ask(user_id="alone")
    records = desk.records()
    assert [record["together"] for record in records] == [4, 4, 4, 4, 1]
    assert all(record["took_ms"] >= 40.0 for record in records)


def test_a_traced_request_notes_what_answered_it_and_its_stages_once(desk: Desk) -> None:
    def ask() -> Trace:
        trace = begin_trace()
        many = RecommendRequest.model_validate({"users": [{"user_id": "a"}, {"user_id": "b"}]})
        desk.desk.recommend_together([many], CHAMPION.value, ENDPOINT)
        return trace

    trace = Context().run(ask)
    assert ([one.stage for one in trace.stages], trace.together) == (["rank", "log"], 2)
    assert {name: list(words) for name, words in trace.notes.items()} == {
        "variant": ["champion"],
        "model": [CHAMPION.model],
    }


def test_traced_users_of_several_variants_note_each(desk: Desk) -> None:
    def ask() -> Trace:
        trace = begin_trace()
        many = RecommendRequest.model_validate({"users": [{"user_id": f"user-{n}"} for n in range(20)]})
        desk.desk.recommend_together([many], CHAMPION.value, ENDPOINT)
        return trace

    desk.begin("split", 0.5)
    trace = Context().run(ask)
    assert {name: sorted(words) for name, words in trace.notes.items()} == {
        "experiment": ["try"],
        "variant": ["champion", "new"],
        "model": [f"{MODEL}:v1", f"{MODEL}:v2"],
    }
    assert [one.stage for one in trace.stages] == ["rank", "log", "rank", "log"]
