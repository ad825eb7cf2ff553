"""A call of an endpoint's method: read, answered, and written.

BentoML's own looks the method's signature up, and that of what adds its header, for each request anew, which costs as
much as all that is left of a call.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.responses import respond

# Where BentoML writes what fails in an endpoint.
logger = logging.getLogger("bentoml._internal.server.http_app")

_UNSAID = "An unexpected error has occurred, please check the server log."


class Reads(Protocol):
    """What a request is read by."""

    def read(self, body: bytes) -> Any:
        """The request; in its place what says what does not fit."""
        ...


@dataclass(frozen=True)
class Call:
    """An endpoint.

    Attributes:
        reads: Its request.
        method: Of the service; given the service and the request.
        is_async: Whether the method is a coroutine; any other runs in a thread.
    """

    reads: Reads
    method: Callable[[Any, Any], Any]
    is_async: bool

    @classmethod
    def of(cls, api: Any) -> Call | None:
        """Of one of BentoML's methods; None of one that takes more than a request, or answers in BentoML's own way."""
        is_plain = not (api.batchable or api.is_task or api.is_stream or api.ctx_param)
        if not is_plain or not getattr(api.input_spec, "__root_input__", False) or not hasattr(api.input_spec, "read"):
            return None
        return cls(api.input_spec, api.func, inspect.iscoroutinefunction(api.func))


class EndpointCalls:
    """Answers the endpoints' paths; everything else, and other methods than POST, is the next app's.

    Stands within everything that a request passes.

    Args:
        app: The next app.
        calls: By path.
        service: The service, once it has begun.
        in_thread: Calls a function, in one of the service's threads.
        name: Of the service, for the header `Server`.
    """

    def __init__(
        self,
        app: ASGIApp,
        calls: dict[str, Call],
        service: Callable[[], Any],
        in_thread: Callable[..., Any],
        name: str,
    ) -> None:
        self._app = app
        self._calls, self._service, self._in_thread = calls, service, in_thread
        self._server = (b"server", f"BentoML Service/{name}".encode("latin-1"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._calls.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if call is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await self._answer(call, receive)
        except Exception:
            logger.exception("Exception on %s [%s]", scope["path"], scope["method"])
            response = JSONResponse({"error": _UNSAID}, status_code=500)
        response.raw_headers.append(self._server)
        await response(scope, receive, send)

    async def _answer(self, call: Call, receive: Receive) -> Response:
        request = call.reads.read(await _body_of(receive))
        service = self._service()
        if call.is_async:
            answer = await call.method(service, request)
        else:
            answer = await self._in_thread(call.method, service, request)
        response: Response = answer if isinstance(answer, Response) else respond(answer)
        return response


async def _body_of(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body
