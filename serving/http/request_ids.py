"""The id of a request: in its answer, in the body of an error, and in everything that is logged until then."""

from __future__ import annotations

import json
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.logs.requests import request_id_of, set_request_id

REQUEST_ID = b"x-request-id"
FIELD = "request_id"
_LENGTH = b"content-length"


class RequestIds:
    """Gives every answer the header `X-Request-Id`, and the body of every error the same id.

    The caller's own id stays where it is well-formed. Stands outside of everything, so that no answer is without.

    Args:
        app: The next app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(given_id(scope.get("headers", ())))
        # It stays when the answer is given: the server may have to log why none was. Each request is a task of its own.
        set_request_id(request_id)
        encoded = request_id.encode()
        start: Message | None = None
        parts: list[bytes] = []

        async def name(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() != REQUEST_ID]
                message = {**message, "headers": [*others, (REQUEST_ID, encoded)]}
                if message["status"] >= 400 and _is_json(message):
                    start = message
                    return
            elif start is not None:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_named(start, b"".join(parts), request_id, send)
                return
            await send(message)

        await self._app(scope, receive, name)


def given_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What a request's headers, with lower-case names, say of its id."""
    return next((value.decode("latin-1") for name, value in headers if name == REQUEST_ID), None)


def _is_json(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "").startswith("application/json")


async def _send_named(start: Message, body: bytes, request_id: str, send: Send) -> None:
    """Send an error whose body has the id too, beside the sentence."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict):
        body = json.dumps({**told, FIELD: request_id}, ensure_ascii=False, separators=(",", ":")).encode()
        others = [pair for pair in start["headers"] if pair[0].lower() != _LENGTH]
        start = {**start, "headers": [*others, (_LENGTH, str(len(body)).encode())]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
