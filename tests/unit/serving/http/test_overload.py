"""More requests than may be in flight are refused at once, each kind by a limit of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.settings.platform import InFlight
from serving.http.overload import ANSWERED_TOGETHER, KINDS, OverloadGate

LIMITS = InFlight(answers=2, texts=1, events=1, admin=1, others=1)


class App:
    """Holds every request until it is let go, and fails the path /broken."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.begun: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        self.begun.append(scope["path"])
        if scope["path"] == "/broken":
            raise ZeroDivisionError
        await self.let_go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(app: Any, path: str, method: str = "POST") -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "path": path, "method": method}, None, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"]


def run(steps: Callable[[OverloadGate, App, Any], Awaitable[None]]) -> None:
    async def begin() -> None:
        gate, app = OverloadGate(LIMITS), App()
        await asyncio.wait_for(steps(gate, app, gate.around(app)), 10)

    asyncio.run(begin())


def test_one_request_too_many_is_refused_with_a_sentence_and_when_to_ask_again() -> None:
    async def steps(gate: OverloadGate, app: App, gated: Any) -> None:
        held = [asyncio.ensure_future(ask(gated, path)) for path in ("/v1/recommend", "/v1/score")]
        await asyncio.sleep(0)
        status, headers, body = await ask(gated, "/recommend")
        assert status == 429
        assert headers["retry-after"] == "1"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert int(headers["content-length"]) == len(body)
        assert json.loads(body) == {
            "error": "Cannot answer now: requests in flight=2, expected fewer than serving.in_flight.answers=2. "
            "Ask again in 1 s."
        }
        assert len(app.begun) == 2
        app.let_go.set()
        assert [status for status, _, _ in await asyncio.gather(*held)] == [200, 200]
        assert (await ask(gated, "/v1/recommend"))[0] == 200

    run(steps)


@pytest.mark.parametrize("other", ["/v1/feedback", "/v1/events", "/v1/model", "/livez"])
def test_one_kind_never_keeps_another_waiting(other: str) -> None:
    async def steps(gate: OverloadGate, app: App, gated: Any) -> None:
        held = [asyncio.ensure_future(ask(gated, "/v1/recommend")) for _ in range(2)]
        await asyncio.sleep(0)
        held.append(asyncio.ensure_future(ask(gated, other)))
        await asyncio.sleep(0)
        assert app.begun[-1] == other
        app.let_go.set()
        await asyncio.gather(*held)

    run(steps)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/v1/items/i1"),
        ("DELETE", "/users/u1"),
        ("POST", "/v1/quarantine/readmissions"),
        ("GET", "/v1/audit"),
        ("HEAD", "/v1/lineage/r1"),
    ],
)
def test_what_is_read_and_made_up_never_keeps_an_operator_waiting(method: str, path: str) -> None:
    async def steps(gate: OverloadGate, app: App, gated: Any) -> None:
        held = [asyncio.ensure_future(ask(gated, "/v1/items/i1", "GET"))]
        await asyncio.sleep(0)
        for refused in ("/v1/users/u1", "/app/status", "/made/up"):
            assert (await ask(gated, refused, "GET"))[0] == 429
        held.append(asyncio.ensure_future(ask(gated, path, method)))
        await asyncio.sleep(0)
        assert app.begun == ["/v1/items/i1", path]
        status, _, body = await ask(gated, "/v1/items/i2", "PATCH")
        assert status == 429
        assert "serving.in_flight.admin=1" in body.decode()
        app.let_go.set()
        await asyncio.gather(*held)

    run(steps)


def test_probes_have_no_limit() -> None:
    async def steps(gate: OverloadGate, app: App, gated: Any) -> None:
        held = [asyncio.ensure_future(ask(gated, "/readyz")) for _ in range(50)]
        await asyncio.sleep(0)
        assert len(app.begun) == 50
        app.let_go.set()
        await asyncio.gather(*held)

    run(steps)


def test_whoever_fails_or_hangs_up_leaves_room() -> None:
    async def steps(gate: OverloadGate, app: App, gated: Any) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await ask(gated, "/broken")
        gone = asyncio.ensure_future(ask(gated, "/v1/events"))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert [gate.now(kind) for kind in ("others", "events")] == [0, 0]

    run(steps)


def test_the_refused_are_counted_by_path_and_made_up_paths_as_one() -> None:
    async def steps(gate: OverloadGate, app: App, gated: Any) -> None:
        held = [asyncio.ensure_future(ask(gated, path)) for path in ("/v1/events", "/x")]
        await asyncio.sleep(0)
        for path in ("/v1/events", "/events", "/a", "/b"):
            assert (await ask(gated, path))[0] == 429
        assert gate.take_refused() == {"/v1/events": 2, "other": 2}
        assert gate.take_refused() == {}
        app.let_go.set()
        await asyncio.gather(*held)

    run(steps)


def test_every_post_has_a_kind() -> None:
    assert KINDS["/v1/recommend"] == KINDS["/recommend"] == KINDS["/v1/score"] == "answers"
    assert KINDS["/v1/feedback"] == "texts"
    assert KINDS["/v1/events"] == "events"
    assert {"/v1/recommend", "/v1/score"} <= ANSWERED_TOGETHER
