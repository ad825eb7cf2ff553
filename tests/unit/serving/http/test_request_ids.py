"""The id of a request in its answer, whatever the answer is, around small apps."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from core.logs.requests import current_request_id, request_id_of
from serving.api.feedback import TextPiece
from serving.http.request_ids import RequestIds
from serving.http.stream import EventStream

GIVEN = {"x-request-id": "from-the-shop.7"}


def client_of(answer: Response) -> TestClient:
    async def endpoint(_: Request) -> Response:
        logging.getLogger("serving").warning("answering %s", current_request_id())
        return answer

    return TestClient(RequestIds(Starlette(routes=[Route("/x", endpoint)])))


@pytest.mark.parametrize(
    "answer", [JSONResponse({"k": 1}), PlainTextResponse("ok"), StreamingResponse(iter(["a", "b"]))]
)
def test_an_answer_has_the_callers_id_and_is_otherwise_as_it_was(answer: Response) -> None:
    client = client_of(answer)
    got = client.get("/x", headers=GIVEN)
    assert got.headers.get_list("x-request-id") == ["from-the-shop.7"]
    assert got.text in ('{"k":1}', "ok", "ab")
    assert client.get("/x", headers={"x-request-id": "no id"}).headers["x-request-id"] != "no id"


def test_without_one_each_request_gets_its_own(caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(JSONResponse({}))
    ids = [client.get("/x").headers["x-request-id"] for _ in range(3)]
    assert len({*ids}) == 3
    assert [request_id_of(one) for one in ids] == ids
    assert [record.getMessage() for record in caplog.records if record.name == "serving"] == [
        f"answering {one}" for one in ids
    ]


def test_an_error_names_it_beside_the_sentence() -> None:
    got = client_of(JSONResponse({"error": "Too „many“."}, 429, headers={"retry-after": "1"})).get("/x", headers=GIVEN)
    assert got.json() == {"error": "Too „many“.", "request_id": "from-the-shop.7"}
    assert (got.status_code, got.headers["retry-after"]) == (429, "1")
    assert int(got.headers["content-length"]) == len(got.content)
    assert got.headers.get_list("content-length") == [str(len(got.content))]


@pytest.mark.parametrize(
    "answer",
    [
        HTMLResponse("<p>Not here", 404),
        PlainTextResponse("no", 400),
        Response(b"[]", 500, media_type="application/json"),
        Response(b"{", 500, media_type="application/json"),
    ],
)
def test_an_error_of_another_form_keeps_it(answer: Response) -> None:
    got = client_of(answer).get("/x", headers=GIVEN)
    assert got.content == answer.body
    assert got.headers["x-request-id"] == "from-the-shop.7"


def test_a_path_that_is_nowhere_has_one_too() -> None:
    assert client_of(JSONResponse({})).get("/nowhere", headers=GIVEN).headers["x-request-id"] == "from-the-shop.7"


def test_a_stream_that_breaks_off_names_it_in_its_last_event() -> None:
    async def messages() -> AsyncIterator[TextPiece]:
        yield TextPiece(index=0, text="One.")
        raise TimeoutError

    stream = EventStream(messages(), lambda _: "Too late.", lambda: None)
    body = client_of(stream).get("/x", headers=GIVEN).text
    assert body.endswith('event: error\ndata: {"error":"Too late.","request_id":"from-the-shop.7"}\n\n')
