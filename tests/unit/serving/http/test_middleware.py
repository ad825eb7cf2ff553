"""The limit on bodies, the one form of errors and the observer, around small apps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from serving.guard.shape import ShapeLimit
from serving.http.middleware import JsonBodyLimit, ObserveRequests, UniformErrors
from serving.http.versions import SINCE, EarlierPaths

JSON = {"content-type": "application/json"}
SHAPE = ShapeLimit(max_depth=10, max_values=20)


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/json")


def client_of(answer: Response | Exception) -> TestClient:
    async def endpoint(_: Request) -> Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    app = Starlette(routes=[Route("/x", endpoint, methods=["POST"])])
    return TestClient(UniformErrors(app))


@pytest.fixture
def limited() -> TestClient:
    app = Starlette(routes=[Route("/x", echo, methods=["POST", "GET", "PUT"])])
    return TestClient(JsonBodyLimit(app, max_body_bytes=100, seconds=5, shape=SHAPE))


def test_a_body_up_to_the_limit_passes_whole(limited: TestClient) -> None:
    assert limited.post("/x", content=b"a" * 100, headers=JSON).content == b"a" * 100
    assert limited.post("/x", content=b"", headers=JSON).content == b""
    assert limited.get("/x").status_code == 200


def test_a_declared_length_over_the_limit_is_refused(limited: TestClient) -> None:
    answer = limited.post("/x", content=b"a" * 101, headers=JSON)
    assert answer.status_code == 413
    assert answer.json() == {"error": "Cannot read the request: the body is longer than 100 bytes. Send less at once."}
    assert answer.headers["connection"] == "close"


def test_a_streamed_body_over_the_limit_is_refused(limited: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (b"a" * 40 for _ in range(3))

    assert limited.post("/x", content=pieces(), headers=JSON).status_code == 413


def test_reading_stops_at_the_limit() -> None:
    read: list[int] = []
    sent: list[Message] = []

    async def receive() -> Message:
        read.append(1)
        return {"type": "http.request", "body": b"a" * 60, "more_body": True}  # never ends

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [(b"content-type", b"application/json")]}
    asyncio.run(JsonBodyLimit(Starlette(), max_body_bytes=100, seconds=5, shape=SHAPE)(scope, receive, send))
    assert len(read) == 2
    assert sent[0]["status"] == 413


def test_a_body_that_drips_is_ended() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/x", "headers": [(b"content-type", b"application/json")]}
    asyncio.run(JsonBodyLimit(Starlette(), max_body_bytes=100, seconds=0.1, shape=SHAPE)(scope, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"its body did not come within 0.1 s" in sent[1]["body"]


def test_a_body_of_too_many_values_or_too_deep_is_refused_before_the_endpoint(limited: TestClient) -> None:
    for content, said in ((b"[" * 11, "nested 11 deep, expected at most 10"), (b"1," * 21, "22 values")):
        answer = limited.put("/x", content=content, headers=JSON)
        assert answer.status_code == 400
        assert said in answer.json()["error"]


def test_a_length_that_is_no_sensible_number_is_too_long_or_not_heeded() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    limit = JsonBodyLimit(Starlette(), max_body_bytes=100, seconds=5, shape=SHAPE)
    for length, status in ((b"9" * 5000, 413), ("²".encode("latin-1"), 404)):
        headers = [(b"content-length", length)]
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": headers}
        asyncio.run(limit(scope, receive, send))
        assert sent.pop(0)["status"] == status
        sent.clear()


@pytest.mark.parametrize("media_type", ["text/plain", "multipart/form-data", "application/vnd.bentoml+pickle"])
def test_only_json_comes_in(limited: TestClient, media_type: str) -> None:
    answer = limited.post("/x", content=b"{}", headers={"content-type": media_type})
    assert answer.status_code == 415
    assert answer.json() == {"error": f"Cannot read the request: Content-Type={media_type}, expected application/json."}


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_known_in_any_spelling(limited: TestClient, media_type: str) -> None:
    assert limited.post("/x", content=b"{}", headers={"content-type": media_type}).status_code == 200


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (JSONResponse({"error": "A sentence."}, 404), "A sentence."),
        (JSONResponse([{"error": "A sentence."}], 404), "A sentence."),  # BentoML's NotFound
        (JSONResponse({"detail": "A sentence."}, 400), "A sentence."),
        (JSONResponse("A sentence.", 400), "A sentence."),
        (JSONResponse({}, 400), "Cannot answer POST /x: status 400."),
        (PlainTextResponse("A sentence.\n", 503), "A sentence."),
        (Response(status_code=400), "Cannot answer POST /x: status 400."),
        (HTTPException(503, "Not ready: a sentence."), "Not ready: a sentence."),
    ],
)
def test_every_error_becomes_one_sentence(answer: Response | Exception, sentence: str) -> None:
    got = client_of(answer).post("/x")
    assert got.json() == {"error": sentence}
    assert got.status_code == (answer.status_code if isinstance(answer, Response | HTTPException) else None)


def test_an_error_keeps_its_other_headers() -> None:
    got = client_of(JSONResponse({"error": "Busy."}, 429, headers={"retry-after": "1"})).post("/x")
    assert got.headers["retry-after"] == "1"
    assert int(got.headers["content-length"]) == len(got.content)


def test_an_unknown_path_and_a_wrong_method_are_named() -> None:
    client = client_of(Response())
    assert client.get("/nowhere").json() == {"error": "Cannot find GET /nowhere: the endpoints are listed at /."}
    got = client.get("/x")
    assert (got.status_code, got.json()) == (405, {"error": "Cannot answer GET /x: expected POST."})


def test_a_success_passes_as_it_is() -> None:
    got = client_of(Response(b'["as", "it", "is"]', media_type="application/json")).post("/x")
    assert got.content == b'["as", "it", "is"]'


def test_every_answer_is_observed() -> None:
    observed: list[tuple[str, int]] = []

    async def fail(_: Request) -> Response:
        raise HTTPException(404, "no")

    app = Starlette(routes=[Route("/x", echo), Route("/y", fail), Route("/z", echo)])
    client = TestClient(
        ObserveRequests(app, frozenset({"/x", "/y"}), lambda endpoint, status, *_: observed.append((endpoint, status)))
    )
    for path in ("/x", "/y", "/z", "/made-up"):
        client.get(path)
    assert observed == [("/x", 200), ("/y", 404), ("other", 200), ("other", 404)]


def test_an_app_that_dies_is_observed_too() -> None:
    observed: list[tuple[str, int]] = []

    async def die(*_: object) -> None:
        raise asyncio.CancelledError

    app = ObserveRequests(die, frozenset({"/x"}), lambda endpoint, status, *_: observed.append((endpoint, status)))
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(app(scope, None, None))  # type: ignore[arg-type]
    assert observed == [("/x", 499)]


def test_a_request_that_cannot_be_counted_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise IndexError("mmap slice assignment is wrong size")

    client = TestClient(ObserveRequests(Starlette(routes=[Route("/x", echo)]), frozenset({"/x"}), fail))
    assert client.get("/x").status_code == 200
    assert "mmap slice assignment" in caplog.text


def test_a_path_of_earlier_releases_is_answered_and_counted_as_its_successor_and_marked() -> None:
    seen: list[tuple[str, int]] = []

    async def say(request: Request) -> Response:
        return JSONResponse({"path": request.url.path}, headers={"link": "<x>; rel=y"})

    routes = [Route("/v1/say", say, methods=["POST", "GET"]), Route("/other", say, methods=["GET"])]
    counted = ObserveRequests(Starlette(routes=routes), frozenset({"/v1/say"}), lambda *one: seen.append(one[:2]))
    client = TestClient(EarlierPaths(counted, {"/say": "/v1/say"}))
    for asked in ("post", "get"):
        old, new = getattr(client, asked)("/say"), getattr(client, asked)("/v1/say")
        assert old.json() == new.json() == {"path": "/v1/say"}
        assert old.headers["deprecation"] == SINCE
        assert old.headers.get_list("link") == ["<x>; rel=y", '</v1/say>; rel="successor-version"']
        assert "deprecation" not in new.headers
    assert "deprecation" not in client.get("/other").headers
    assert client.delete("/say").status_code == 405
    assert client.delete("/say").headers["deprecation"] == SINCE
    assert seen[:4] == [("/v1/say", 200)] * 4


def test_paths_with_an_id_are_counted_as_one_endpoint() -> None:
    seen: list[str] = []
    endpoints = frozenset({"/v1/items/{item_id}", "/v1/say"})
    client = TestClient(ObserveRequests(Starlette(), endpoints, lambda endpoint, *_: seen.append(endpoint)))
    for path in ("/v1/items/a", "/v1/items/a/b", "/v1/items", "/v1/say", "/v1/says"):
        client.get(path)
    assert seen == ["/v1/items/{item_id}"] * 2 + ["other", "/v1/say", "other"]
