"""What the requests take, what they refuse, and with which sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from core.schema import MAX_ID_CHARS
from serving.api.events import EventsRequest
from serving.api.feedback import FeedbackRequest
from serving.api.problem import explain
from serving.api.recommend import RecommendRequest
from serving.api.score import ScoreRequest
from serving.errors import BadRequest

EVENT = {"user_id": "u", "item_id": "i", "event": "view"}


def sentence(model: type[BaseModel], body: str) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(body)
    return explain(caught.value)


def events(**change: Any) -> str:
    return json.dumps({"events": [{**EVENT, **change}]})


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (RecommendRequest, '{"k": 0}', "k=0, input should be greater than or equal to 1."),
        (RecommendRequest, '{"k": "ten"}', 'k="ten", input should be a valid integer.'),
        (RecommendRequest, '{"k": "10"}', 'k="10", input should be a valid integer.'),
        (RecommendRequest, '{"k": 2.5}', "k=2.5, input should be a valid integer."),
        (
            RecommendRequest,
            '{"diversity": {"strength": 1.5}}',
            "diversity.strength=1.5, input should be less than or equal to 1.",
        ),
        (
            RecommendRequest,
            '{"diversity": {"kind": "random"}}',
            "diversity.kind=\"random\", expected 'none', 'mmr' or 'calibration'.",
        ),
        (RecommendRequest, '{"diversity": {"lambda": 0.5}}', "diversity.lambda is not one of its fields."),
        (RecommendRequest, '{"kk": 1}', "kk is not one of its fields."),
        (RecommendRequest, '{"user_id": 7}', "user_id=7, input should be a valid string."),
        (RecommendRequest, '{"user_id": ""}', 'user_id="", string should have at least 1 character.'),
        (RecommendRequest, '{"history": ["a", 2]}', "history.1=2, input should be a valid string."),
        (
            RecommendRequest,
            '{"user_id": "u", "history": ["i"]}',
            "user_id and history are both given, expected at most one of them.",
        ),
        (RecommendRequest, '{"k": 0, "user_id": 7}', "user_id=7, input should be a valid string; 1 more of its values"),
        (RecommendRequest, "[1]", "body=[1], expected a JSON object."),
        (RecommendRequest, "{", "the body is not JSON (EOF while parsing an object at line 1 column 1)."),
        (ScoreRequest, "{}", "item_ids is missing."),
        (ScoreRequest, '{"item_ids": []}', "item_ids=[], list should have at least 1 item"),
        (FeedbackRequest, '{"item_id": "i", "rating": 5.5}', "rating=5.5, input should be less than or equal to 5."),
        (FeedbackRequest, '{"item_id": "i", "kind": "poem"}', "kind=\"poem\", expected 'review' or 'reason'."),
        (FeedbackRequest, '{"item_id": "i", "seed": -1}', "seed=-1, input should be greater than or equal to 0."),
        (FeedbackRequest, "{}", "neither item_id nor pairs is given, expected one of them."),
        (FeedbackRequest, '{"item_id": "i", "style": "rude"}', "style=\"rude\", expected 'short', 'medium' or 'long'."),
        (
            FeedbackRequest,
            '{"item_id": "i", "max_words": 0}',
            "max_words=0, input should be greater than or equal to 1.",
        ),
        (FeedbackRequest, '{"pairs": []}', "pairs=[], list should have at least 1 item"),
        (FeedbackRequest, '{"pairs": [{"user_id": "u"}]}', "pairs.0.item_id is missing."),
        (
            FeedbackRequest,
            '{"pairs": [{"item_id": "i"}], "user_id": "u"}',
            "pairs and user_id are both given, expected what each pair needs within it.",
        ),
        (FeedbackRequest, '{"pairs": [{"item_id": "i"}], "item_id": "i"}', "pairs and item_id are both given"),
        (FeedbackRequest, '{"item_id": "i", "stream": "yes"}', 'stream="yes", input should be a valid boolean.'),
        (EventsRequest, events(event=""), 'events.0.event="", string should have at least 1 character.'),
        (EventsRequest, events(value="5"), 'events.0.value="5", input should be a valid number.'),
        (EventsRequest, events(item_id="i" * 2049), "string should have at most 2048 characters."),
        (EventsRequest, events(timestamp="2026-01-01T00:00:00"), "input should have timezone info."),
        (
            EventsRequest,
            events(timestamp=1700000000),
            "events.0.timestamp=1700000000, input should be a valid datetime",
        ),
        (EventsRequest, events(timestamp="1960-01-01T00:00:00Z"), "expected a time after 1970."),
        (EventsRequest, '{"events": []}', "list should have at least 1 item"),
    ],
)
def test_a_request_that_does_not_fit_is_explained_in_one_sentence(
    model: type[BaseModel], body: str, expected: str
) -> None:
    said = sentence(model, body)
    assert said.startswith("Cannot read the request: ")
    assert expected in said
    assert "\n" not in said


def test_limits_on_numbers_of_ids_and_events() -> None:
    ScoreRequest(item_ids=["i"] * 1000)
    RecommendRequest(history=["i" * MAX_ID_CHARS] * 1000, exclude=["i"] * 1000)
    with pytest.raises(ValidationError, match="at most 1000"):
        ScoreRequest(item_ids=["i"] * 1001)
    with pytest.raises(ValidationError, match="at most 1000"):
        RecommendRequest(history=["i"] * 1001)
    with pytest.raises(ValidationError, match=f"at most {MAX_ID_CHARS}"):
        RecommendRequest(user_id="u" * (MAX_ID_CHARS + 1))
    EventsRequest.model_validate({"events": [EVENT] * 1000})
    with pytest.raises(ValidationError, match="at most 1000"):
        EventsRequest.model_validate({"events": [EVENT] * 1001})


def test_an_event_takes_every_id_that_validation_accepts() -> None:
    long = "i" * MAX_ID_CHARS
    (kept,) = EventsRequest.model_validate_json(events(item_id=long, user_id=long, event_id=long)).interactions()
    assert (kept.item_id, kept.user_id, kept.event_id) == (long, long, long)


def test_a_long_value_is_shown_shortened() -> None:
    assert len(sentence(RecommendRequest, '{"k": "' + "x" * 10_000 + '"}')) < 200


@pytest.mark.parametrize("broken", ["\\u0000", "\\ufffd", "\\ud800"])
@pytest.mark.parametrize("name", ["event_id", "user_id", "item_id"])
def test_an_id_that_no_database_keeps_is_refused(broken: str, name: str) -> None:
    body = events(**{name: "id-here"}).replace("id-here", f"id{broken}")
    with pytest.raises((BadRequest, ValidationError), match=r"an id without a NUL|unexpected end of hex escape"):
        EventsRequest.model_validate_json(body).interactions()


def test_events_may_be_a_little_ahead_of_the_clock() -> None:
    now = datetime.now(UTC)
    EventsRequest.model_validate_json(events(timestamp=(now + timedelta(minutes=4)).isoformat()))
    said = sentence(EventsRequest, events(timestamp=(now + timedelta(minutes=6)).isoformat()))
    assert "expected a time that is not more than 5 minutes in the future" in said


def test_an_event_without_id_and_time_gets_its_own() -> None:
    before = datetime.now(UTC)
    request = EventsRequest.model_validate({"events": [EVENT, EVENT, {**EVENT, "event_id": "mine"}]})
    first, second, third = request.interactions()
    assert first.event_id != second.event_id
    assert third.event_id == "mine"
    assert before <= first.timestamp == second.timestamp <= datetime.now(UTC)
    assert first.value is None


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    (kept,) = EventsRequest.model_validate_json(events(timestamp="2026-01-01T02:00:00+02:00")).interactions()
    assert kept.timestamp == datetime(2026, 1, 1, tzinfo=UTC)


@given(st.text(max_size=40))
def test_any_text_as_a_body_is_read_or_explained(body: str) -> None:
    for model in (RecommendRequest, ScoreRequest, EventsRequest):
        try:
            model.model_validate_json(body)
        except ValidationError as error:
            said = explain(error)
            assert said.startswith("Cannot read the request: ")
            assert said.endswith(".")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["user_id", "history", "k", "exclude", "exclude_seen", "x"]), JSON_VALUES))
def test_any_values_in_the_fields_are_read_or_explained(body: dict[str, Any]) -> None:
    said = ""
    try:
        request = RecommendRequest.model_validate(body)
        assert request.k >= 1
        assert request.user_id is None or request.history is None
    except ValidationError as error:
        said = explain(error)
    assert said == "" or said.startswith("Cannot read the request: ")


@pytest.mark.parametrize(("k", "users", "fits"), [(100, 1, True), (101, 1, False), (20, 50, True), (21, 48, False)])
def test_what_the_propensities_of_a_request_cost_is_bounded(k: int, users: int, fits: bool) -> None:
    asked = {"k": k, "users": [{"user_id": f"u{n}"} for n in range(users)]}
    RecommendRequest.model_validate({**asked, "exploration": {"kind": "epsilon"}})
    if fits:
        RecommendRequest.model_validate({**asked, "exploration": {"kind": "thompson"}})
        return
    with pytest.raises(ValidationError, match=f"thompson with k={k} for {users} users"):
        RecommendRequest.model_validate({**asked, "exploration": {"kind": "thompson"}})


def test_an_event_may_name_the_answer_that_showed_its_item() -> None:
    shown = {"user_id": "u", "item_id": "i", "event": "click", "recommendation_id": "r-1", "position": 2}
    (kept,) = EventsRequest.model_validate({"events": [shown]}).interactions()
    assert (kept.recommendation_id, kept.shown_position) == ("r-1", 2)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        EventsRequest.model_validate({"events": [{**shown, "position": 0}]})
