"""The client asks what the OpenAPI document describes: every endpoint, with its messages, and nothing else."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_type_hints
from urllib.parse import unquote

import pytest

from serving.api.feedback import FeedbackPair, FeedbackRequest
from serving.api.message import API_PREFIX, Message
from serving.api.openapi import describe_api
from serving.api.recommend import RecommendRequest, RecommendUser
from serving.calls.call import Call, Described
from serving.calls.endpoints import Endpoints
from serving.calls.texts import text_call
from serving.client import AsyncClient, Client
from serving.guard.access import need_of

DOCUMENT = describe_api()
SCHEMAS = DOCUMENT["components"]["schemas"]
# Of every endpoint that is not one of an earlier release: its operation in the document.
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if path.startswith(f"{API_PREFIX}/") and not operation.get("deprecated")
}
METHODS = {name: method for name, method in vars(Endpoints).items() if isinstance(method, Described)}
# Requests of methods that want another one than the document's example.
OTHERS: dict[str, Message] = {
    "recommend_each": RecommendRequest(users=[RecommendUser(user_id="u0001")]),
    "feedback_each": FeedbackRequest(pairs=[FeedbackPair(item_id="i0007")]),
}


def call_of(name: str) -> Call[Any]:
    """What a method sends for the names of ids as ids, and for the example of the document."""
    method, hints = METHODS[name], get_type_hints(inspect.unwrap(METHODS[name]))
    given = []
    for parameter, kind_of in list(inspect.signature(method).parameters.items())[1:]:
        if kind_of.kind is inspect.Parameter.KEYWORD_ONLY:  # of the query
            continue
        kind = hints[parameter]
        if kind is str:
            given.append(f"{{{parameter}}}")
        else:
            example = json.dumps(SCHEMAS[kind.__name__]["example"])
            given.append(OTHERS.get(name, kind.model_validate_json(example)))
    return method(*given)


CALLS = {name: call_of(name) for name in METHODS}


def endpoint_of(call: Call[Any]) -> tuple[str, str]:
    return call.method, unquote(call.url)


def named(content: dict[str, Any]) -> set[str]:
    """The messages that a body of JSON may be."""
    schema = content["content"]["application/json"]["schema"]
    return {one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema])}


def test_every_endpoint_has_a_method_and_every_method_an_endpoint() -> None:
    assert {endpoint_of(call) for call in CALLS.values()} == set(OPERATIONS)


@pytest.mark.parametrize("endpoint", OPERATIONS, ids=" ".join)
def test_requests_and_answers_are_those_of_the_document(endpoint: tuple[str, str]) -> None:
    operation = OPERATIONS[endpoint]
    calls = [call for call in CALLS.values() if endpoint_of(call) == endpoint]
    asked = {type(call.body).__name__ for call in calls if call.body is not None}
    assert asked == (named(operation["requestBody"]) if "requestBody" in operation else set())
    successes = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    told = {answer.__name__ for call in calls for answer in call.answers}
    assert told == set().union(*(named(answer) for answer in successes))


def test_what_comes_in_pieces_can_be_had_so() -> None:
    streaming = {
        endpoint
        for endpoint, operation in OPERATIONS.items()
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    }
    assert streaming == {endpoint_of(text_call(FeedbackRequest(item_id="i")))}
    for client in (Client, AsyncClient):
        assert get_type_hints(client.stream_feedback)["request"] is FeedbackRequest


@pytest.mark.parametrize("name", METHODS)
def test_only_what_changes_nothing_and_events_are_repeated(name: str) -> None:
    """A scope that allows changes is needed for the others."""
    call = CALLS[name]
    assert call.may_repeat == (call.method == "GET" or need_of(*endpoint_of(call)) in ("read", "events"))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_does(name: str) -> None:
    assert getattr(Client, name) is METHODS[name] is getattr(AsyncClient, name)
    assert METHODS[name].__doc__
