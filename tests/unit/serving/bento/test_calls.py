"""A call of an endpoint: what it is answered, whatever the method gives or raises."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from serving.api.score import ScoreRequest
from serving.bento.calls import Call, EndpointCalls
from serving.http.inputs import ScoreInput, Unreadable
from serving.http.responses import refuse
from serving.service import Sommelier


class Said(BaseModel):
    words: str


def answered(service: str, request: Any) -> Any:
    return Said(words=f"{service} {request.item_ids}")


async def awaited(service: str, request: Any) -> Any:
    if isinstance(request, Unreadable):
        return refuse(400, request.sentence)
    return answered(service, request)


async def failing(service: str, request: Any) -> Any:
    raise ZeroDivisionError("a secret")


def client_of(method: Any, is_async: bool) -> TestClient:
    async def others(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("another", 404)(scope, receive, send)

    async def in_thread(function: Any, *given: Any) -> Any:
        return function(*given)

    calls = {"/v1/score": Call(ScoreInput, method, is_async)}
    app = EndpointCalls(others, calls, lambda: "service", in_thread, "Shop")
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(("method", "is_async"), [(answered, False), (awaited, True)])
def test_a_model_is_answered_as_json_and_the_request_is_read(method: Any, is_async: bool) -> None:
    found = client_of(method, is_async).post("/v1/score", json={"item_ids": ["i1"]})
    assert (found.status_code, found.json()) == (200, {"words": "service ['i1']"})
    assert found.headers["content-type"] == "application/json"
    assert found.headers["content-length"] == str(len(found.content))
    assert found.headers["server"] == "BentoML Service/Shop"


def test_a_body_in_pieces_is_read_whole() -> None:
    def pieces() -> Any:
        yield b'{"item_'
        yield b'ids": ["i2"]}'

    found = client_of(awaited, True).post("/v1/score", content=pieces())
    assert found.json() == {"words": "service ['i2']"}


@pytest.mark.parametrize("body", [b"", b"{", b'{"item_ids": [], "other": 1}', b"\xff"])
def test_what_does_not_fit_comes_to_the_method_as_a_sentence(body: bytes) -> None:
    found = client_of(awaited, True).post("/v1/score", content=body)
    assert found.status_code == 400
    assert found.json()["error"]


def test_a_response_is_passed_on_as_it_is() -> None:
    async def refused(service: str, request: Any) -> Response:
        return refuse(429, "Too many.", {"retry-after": "1"})

    found = client_of(refused, True).post("/v1/score", json={"item_ids": ["i1"]})
    assert (found.status_code, found.headers["retry-after"], found.json()) == (429, "1", {"error": "Too many."})


def test_a_bug_is_logged_and_says_nothing_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        found = client_of(failing, True).post("/v1/score", json={"item_ids": ["i1"]})
    assert found.status_code == 500
    assert "secret" not in found.text
    assert "Exception on /v1/score [POST]" in caplog.text
    assert "a secret" in caplog.text


def test_other_paths_and_methods_are_the_next_app_s() -> None:
    client = client_of(awaited, True)
    assert [client.get("/v1/score").text, client.post("/v1/other").text] == ["another", "another"]


def test_every_endpoint_of_the_service_is_called_so() -> None:
    """One that was not would be answered by BentoML's own, at twice the time."""
    service: Any = Sommelier
    calls = {name: Call.of(api) for name, api in service.apis.items()}
    assert len(calls) == 8
    assert None not in calls.values()
    assert [name for name, call in calls.items() if call is not None and not call.is_async] == ["events"]


@pytest.mark.parametrize("kind", ["batchable", "is_task", "is_stream", "ctx_param"])
def test_what_bentoml_answers_in_its_own_way_is_left_to_it(kind: str) -> None:
    api = SimpleNamespace(
        batchable=False, is_task=False, is_stream=False, ctx_param=None, input_spec=ScoreInput, func=awaited
    )
    assert Call.of(api) == Call(ScoreInput, awaited, True)
    setattr(api, kind, True)
    assert Call.of(api) is None


@pytest.mark.parametrize("reads", [ScoreRequest, SimpleNamespace(read=ScoreInput.read)])
def test_a_method_that_takes_fields_or_cannot_say_what_does_not_fit_is_left_to_it(reads: Any) -> None:
    api = SimpleNamespace(
        batchable=False, is_task=False, is_stream=False, ctx_param=None, input_spec=reads, func=awaited
    )
    assert Call.of(api) is None
