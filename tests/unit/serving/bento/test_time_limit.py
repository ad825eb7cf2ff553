"""How long an answer may take to begin."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from serving.bento.time_limit import TimeLimit

SCOPE = {"type": "http", "method": "POST", "path": "/v1/recommend", "headers": []}


def ask(app: Any, seconds: float, scope: Any = SCOPE) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(TimeLimit(app, seconds, grace_s=0)(scope, receive, send))
    return sent


def test_an_answer_that_does_not_begin_is_504_and_no_longer_worked_for() -> None:
    ended: list[str] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    start, body = ask(slow, 0.05)
    assert start["status"] == 504
    said = "Cannot answer POST /v1/recommend in time: it takes longer than serving.timeout_s=0.05. Ask again later."
    assert json.loads(body["body"]) == {"error": said}
    assert ended == ["cancelled"]


@pytest.mark.parametrize(
    ("method", "path", "may_be_done"),
    [
        ("PATCH", "/v1/items/i1", True),
        ("DELETE", "/v1/users/u1", True),
        ("POST", "/v1/events", True),
        ("POST", "/v1/score", False),
        ("GET", "/v1/audit", False),
    ],
)
def test_of_what_changes_something_it_is_said_that_it_may_be_done(method: str, path: str, may_be_done: bool) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    _, body = ask(slow, 0.01, {**SCOPE, "method": method, "path": path})
    assert ("may be done all the same" in json.loads(body["body"])["error"]) is may_be_done


def test_what_knows_its_limit_itself_ends_first() -> None:
    async def limited(scope: Any, receive: Any, send: Any) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.sleep(60)
        await send({"type": "http.response.start", "status": 504, "headers": []})
        await send({"type": "http.response.body", "body": b"its own"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(TimeLimit(limited, 0.1)(SCOPE, send, send))
    assert sent[1]["body"] == b"its own"


def test_an_answer_that_has_begun_may_go_on() -> None:
    async def streamed(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.15)
        await send({"type": "http.response.body", "body": b"whole"})

    assert [message.get("body") for message in ask(streamed, 0.05)] == [None, b"whole"]


def test_a_time_limit_of_the_app_s_own_is_its_own_error() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("of the app's own")

    with pytest.raises(TimeoutError, match="of the app's own"):
        ask(failing, 5.0)
