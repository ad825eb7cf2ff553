"""How long an answer may take to begin."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.guard.access import is_change, need_of
from serving.http.responses import refuse

_STATUS = 504
# What limits itself says more of it, and comes first where it begins as late as this allows.
_GRACE_S = 1.0


class TimeLimit:
    """Answers 504 where an answer has not begun in time, and stops what works for it; one that has begun may go on.

    Stands within what observes, audits and marks answers, so that 504 is one of them. BentoML's own would stand before
    all that, and makes a task of each request, of which it keeps about 5 KB for as long as the limit, however soon it
    is answered.

    Args:
        app: The next app.
        timeout_s: How long an answer may take to begin, seconds.
        grace_s: So much later it is ended from here: what knows its limit itself ends first, with its own words.
    """

    def __init__(self, app: ASGIApp, timeout_s: float, grace_s: float = _GRACE_S) -> None:
        self._app, self._timeout_s, self._grace_s = app, timeout_s, grace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False
        limit = asyncio.timeout(self._timeout_s + self._grace_s)

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            if not has_begun:
                limit.reschedule(None)  # raises where the limit is passed: the answer is 504 then
                has_begun = True
            await send(message)

        try:
            async with limit:
                await self._app(scope, receive, send_on)
        except TimeoutError:
            if has_begun or not limit.expired():
                raise
            await refuse(_STATUS, self._sentence(scope["method"], scope["path"]))(scope, receive, send)

    def _sentence(self, method: str, path: str) -> str:
        do = "Ask again later"
        if is_change(method) and need_of(method, path) != "read":
            do = "It may be done all the same: look before you ask again"
        return (
            f"Cannot answer {method} {path} in time: it takes longer than serving.timeout_s={self._timeout_s:g}. {do}."
        )
