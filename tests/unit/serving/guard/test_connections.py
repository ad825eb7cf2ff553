"""Heads that do not come, or do not end, over real sockets of a uvicorn server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
import uvicorn.config
from starlette.types import Receive, Scope, Send

from serving.guard.connections import HeadLimit, limit_heads


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")
    monkeypatch.setattr(HeadLimit, "seconds", 0.0)
    monkeypatch.setattr(HeadLimit, "max_bytes", 0)
    limit_heads(0.5, 5000)
    server = uvicorn.Server(uvicorn.Config(answer, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


async def talk(port: int, pieces: list[bytes], pause_s: float) -> tuple[bytes, float]:
    """Send pieces with pauses; what came back until the server closed, and after how long."""
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)

    sending = asyncio.ensure_future(send())
    with contextlib.suppress(ConnectionError):
        came = await asyncio.wait_for(reader.read(), 10)
    sending.cancel()
    writer.close()
    return came, time.monotonic() - started


def sentence_of(came: bytes) -> str:
    """What an error says; its body is whole, and names the request by the id of the header."""
    head, _, body = came.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert f"\r\nx-request-id: {told['request_id']}\r\n".encode() in head
    assert f"\r\ncontent-length: {len(body)}\r\n".encode() in head
    return str(told["error"])


def test_a_head_that_drips_is_ended_with_408(port: int) -> None:
    pieces = [b"GET / HTTP/1.1\r\n", *(b"x-%d: y\r\n" % n for n in range(100))]
    came, seconds = asyncio.run(talk(port, pieces, 0.1))
    assert came.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert sentence_of(came) == "Cannot read the request: its headers did not come in time."
    assert 0.4 < seconds < 5


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    came, seconds = asyncio.run(talk(port, [], 0))
    assert came == b""
    assert 0.4 < seconds < 5


def test_the_next_head_of_a_connection_may_not_drip_either(port: int) -> None:
    pieces = [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HT", *([b"T"] * 100)]
    came, _ = asyncio.run(talk(port, pieces, 0.1))
    assert came.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 4" in came


def test_headers_without_an_end_are_refused(port: int) -> None:
    pieces = [b"GET / HTTP/1.1\r\n", *(b"x-%d: %s\r\n" % (n, b"y" * 500) for n in range(100))]
    came, _ = asyncio.run(talk(port, pieces, 0.005))
    assert came.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_what_comes_in_time_is_answered_also_many_times_and_with_a_long_body(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert {client.get("/").text for _ in range(5)} == {"ok"}
        assert client.post("/", content=b"x" * 100_000).text == "ok"
        time.sleep(1)
        assert client.get("/").text == "ok"


def test_a_body_may_take_longer_than_a_head(port: int) -> None:
    pieces = [b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 10\r\n\r\n", *([b"x"] * 10)]
    came, _ = asyncio.run(talk(port, pieces, 0.1))
    assert came.startswith(b"HTTP/1.1 200 OK")


def test_what_is_no_http_gets_the_one_form_of_errors(port: int) -> None:
    came, _ = asyncio.run(talk(port, [b"BREW / HTTP/1.1\r\n\r\n"], 0))
    assert came.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert sentence_of(came) == "Cannot read the request: it is no valid HTTP."
