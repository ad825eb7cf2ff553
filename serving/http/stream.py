"""Answers in pieces: server-sent events, and the end of the work where a client hangs up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.logs.requests import current_request_id
from serving.api.feedback import TextPiece
from serving.api.problem import Problem

logger = logging.getLogger(__name__)

HUNG_UP = 499  # what counts as the status of an answer that nobody waited for
_UNSAID = "Cannot finish the text: the service met an error that its log describes. Try again later."


class EventStream(StreamingResponse):
    """Messages as server-sent events: `text`, `feedback`, and `error` where they break off.

    Args:
        messages: Made as they are sent.
        say: The sentence for an error, or None for one that nobody is told of but the log.
        on_end: Called when the response has ended, however it ended.
    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(
        self,
        messages: AsyncIterator[BaseModel],
        say: Callable[[Exception], str | None],
        on_end: Callable[[], None],
    ) -> None:
        # A proxy that collects an answer before it passes it on would make one piece of it.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(_events(messages, say), media_type="text/event-stream", headers=headers)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _events(messages: AsyncIterator[BaseModel], say: Callable[[Exception], str | None]) -> AsyncIterator[str]:
    try:
        async for message in messages:
            yield _event("text" if isinstance(message, TextPiece) else "feedback", message)
    except Exception as error:
        sentence = say(error)
        if sentence is None:
            logger.exception("A streamed answer broke off")
        yield _event("error", Problem(error=sentence or _UNSAID, request_id=current_request_id()))


def _event(name: str, message: BaseModel) -> str:
    # JSON has no line break within it, so one line of data is all.
    return f"event: {name}\ndata: {message.model_dump_json(exclude_none=isinstance(message, Problem))}\n\n"


class StopAtHangUp:
    """Cancels the answer to a client that has hung up; others would be worked on to their end for nobody.

    Stands within what has read the request's body: what comes after it can only be the hanging up.

    Args:
        app: The next app.
        endpoints: The paths whose answers may take long.
        when: Whether they may at this moment; always by default.
    """

    def __init__(self, app: ASGIApp, endpoints: frozenset[str], when: Callable[[], bool] = lambda: True) -> None:
        self._app = app
        self._endpoints, self._when = endpoints, when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self._endpoints or not self._when():
            await self._app(scope, receive, send)
            return
        first: list[Message] = [await receive()]
        hung_up = asyncio.Event()

        async def receive_again() -> Message:
            if first:
                return first.pop()
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def wait_for_hang_up() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            hung_up.set()

        has_begun = False

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, receive_again, send_on))
        watching = asyncio.ensure_future(wait_for_hang_up())
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                answering.cancel()
                with suppress(asyncio.CancelledError):
                    await answering
                if not has_begun:  # nobody reads it; BentoML would wait for it up to its time limit
                    await Response(status_code=HUNG_UP)(scope, receive, send)
                return
            answering.result()
        finally:
            for task in (answering, watching):
                task.cancel()
