"""What every request passes before its endpoint: counting, a limit on the body, one form for every error."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.guard.gate import THROTTLED
from serving.guard.shape import ShapeLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    # endpoint, status, seconds, whether it was refused as its caller asks too often
    Observer = Callable[[str, int, float, bool], None]

logger = logging.getLogger("serving")

_JSON = "application/json"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MAX_DIGITS = 18  # of a length that is worth reading as a number


class JsonBodyLimit:
    """Reads a body whole, up to a limit, and accepts only JSON.

    Bodies are small here, so holding one is cheaper than watching it stream, and the endpoint never starts on a body
    that turns out to be too long.

    Args:
        app: The next app.
        max_body_bytes: A longer body is answered 413, as soon as its header or its bytes show it.
        seconds: A body that is not whole after so long is answered 408.
        shape: A body that breaks it is answered 400, before it is parsed.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, seconds: float, shape: ShapeLimit) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._seconds = seconds
        self._shape = shape

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # of each name the first
        media_type = headers.get(b"content-type", _JSON.encode()).decode("latin-1").partition(";")[0].strip().lower()
        if media_type != _JSON:
            # BentoML would also read forms and, elsewhere, pickles.
            sentence = f"Cannot read the request: Content-Type={media_type}, expected {_JSON}."
            await self._refuse(415, sentence, scope, receive, send)
            return
        declared = headers.get(b"content-length", b"").decode("latin-1")
        is_long = declared.isdecimal() and (len(declared) > _MAX_DIGITS or int(declared) > self._max_body_bytes)
        try:
            async with asyncio.timeout(self._seconds):
                body = None if is_long else await self._read(receive)
        except TimeoutError:
            sentence = f"Cannot read the request: its body did not come within {self._seconds:g} s. Send it at once."
            await self._refuse(408, sentence, scope, receive, send)
            return
        if body is None:
            sentence = (
                f"Cannot read the request: the body is longer than {self._max_body_bytes} bytes. Send less at once."
            )
            await self._refuse(413, sentence, scope, receive, send)
            return
        if fault := self._shape.find_fault(body):
            answer = JSONResponse({"error": f"Cannot read the request: {fault}. Send less at once."}, status_code=400)
            await answer(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None as soon as it is too long. A client that leaves early has sent what it has sent."""
        parts: list[bytes] = []
        left = self._max_body_bytes
        while True:
            message = await receive()
            part: bytes = message.get("body", b"")
            left -= len(part)
            if left < 0:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    @staticmethod
    async def _refuse(status: int, sentence: str, scope: Scope, receive: Receive, send: Send) -> None:
        # The rest of the body is not read, so the connection cannot be used again.
        answer = JSONResponse({"error": sentence}, status_code=status, headers={"connection": "close"})
        await answer(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


class UniformErrors:
    """Gives every answer of 400 and above the body `{"error": "one sentence"}`, wherever it comes from.

    BentoML and Starlette answer in four forms: an object, a list of one object, plain text, nothing. Pages for people
    say what is wrong in a form of their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def hold_errors(message: Message) -> None:
            nonlocal start
            is_error = message["type"] == "http.response.start" and message["status"] >= 400
            if is_error and not _is_page(message):
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    sentence = _sentence(scope, start["status"], Headers(scope=start), b"".join(parts))
                    await _as_json(start, sentence)(scope, receive, send)

        await self._app(scope, receive, hold_errors)


def _is_page(start: Message) -> bool:
    return Headers(scope=start).get("content-type", "").startswith("text/html")


def _as_json(start: Message, sentence: str) -> JSONResponse:
    """The same answer with the one body; headers about the old body go."""
    kept = {
        name: value for name, value in Headers(scope=start).items() if name not in {"content-length", "content-type"}
    }
    return JSONResponse({"error": sentence}, status_code=start["status"], headers=kept)


def _sentence(scope: Scope, status: int, headers: Headers, body: bytes) -> str:
    """One sentence for an error answer."""
    asked = f"{scope['method']} {scope['path']}"
    if status == 404 and not headers.get("content-type", "").startswith(_JSON):
        return f"Cannot find {asked}: the endpoints are listed at /."
    if status == 405:
        return f"Cannot answer {asked}: expected {headers.get('allow', 'another method')}."
    try:
        return _error_of(json.loads(body)) or f"Cannot answer {asked}: status {status}."
    except ValueError:
        return body.decode("utf-8", "replace").strip() or f"Cannot answer {asked}: status {status}."


def _error_of(answer: Any) -> str:
    if isinstance(answer, list) and answer:
        return _error_of(answer[0])
    if isinstance(answer, dict):
        return str(answer.get("error") or answer.get("detail") or "")
    return str(answer or "")


class EndpointNames:
    """By what name a path is counted and traced: ids of users and items stand in none.

    Args:
        endpoints: The paths that have a name, an id in braces standing for any.
    """

    def __init__(self, endpoints: frozenset[str]) -> None:
        self._endpoints = endpoints
        # From what stands before an id in a path to the endpoint: /v1/items/{item_id} counts as one.
        self._folders = {path.partition("{")[0]: path for path in endpoints if "{" in path}

    def of(self, path: str) -> str:
        """The endpoint of a path; "other" of any that has none, so that made-up ones cannot fill memory."""
        if path in self._endpoints:
            return path
        return next((name for folder, name in self._folders.items() if path.startswith(folder)), "other")


class ObserveRequests:
    """Reports every answer to `observe`: endpoint, status, seconds, and whether its caller asks too often.

    Args:
        app: The next app.
        endpoints: The paths that are counted apart, an id in braces standing for any.
        observe: Called once per request. A client that left before its answer counts as 499. Where it fails, the
            request does not.
    """

    def __init__(self, app: ASGIApp, endpoints: frozenset[str], observe: Observer) -> None:
        self._app = app
        self._endpoint_of = EndpointNames(endpoints).of
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, note_status)
        finally:
            seconds, is_throttled = time.perf_counter() - started, scope.get(THROTTLED, False)
            try:
                self._observe(self._endpoint_of(scope["path"]), status, seconds, is_throttled)
            except Exception:  # the client has its answer by now
                logger.exception("A request is not counted")
