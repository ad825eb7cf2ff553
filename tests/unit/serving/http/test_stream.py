"""What is answered to a client that has hung up is cancelled, where clients are watched at the moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.http.stream import StopAtHangUp


@pytest.mark.parametrize(
    ("path", "is_crowded", "is_stopped"), [("/a", True, True), ("/a", False, False), ("/b", True, False)]
)
def test_the_answer_to_nobody_is_cancelled_where_it_may_take_long(
    path: str, is_crowded: bool, is_stopped: bool
) -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(0.05)
            ended.append("answered")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def steps() -> None:
        messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(_: Any) -> None:
            pass

        watched = StopAtHangUp(app, frozenset({"/a"}), when=lambda: is_crowded)
        await watched({"type": "http", "path": path, "method": "POST"}, receive, send)

    asyncio.run(steps())
    assert ended == ["cancelled" if is_stopped else "answered"]
