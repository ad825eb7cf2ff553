"""A limit on the head of a request: its bytes, and how long it may take to come.

No app sees a request before its head is whole, so a client that sends a header a minute, or headers without an end, is
met here: a connection class of uvicorn's that closes such a connection. The body is the business of `JsonBodyLimit`.
What is too much is refused here too, as soon as the head is read: a request that gets as far as an app costs four times
as much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.ids import time_ordered_id

_ANSWER = (
    b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %s\r\nconnection: close"
    b"\r\n\r\n%s"
)
_BODY = b'{"error":"%s","request_id":"%s"}'
_NAME = f"{__name__}:HeadLimit"


Headers = Sequence[tuple[bytes, bytes]]


class Refusing(Protocol):
    """What a request is refused with."""

    def http(self, headers: Headers, own: Headers, *, closes: bool) -> bytes:
        """The whole answer, given the request's headers and those that the server gives every answer."""
        ...


# From what a POST asks for, and what calls a function soon, to what it is refused with; None for one to be answered.
Refuse = Callable[[bytes, Callable[[Callable[[], None]], object]], Refusing | None]


def limit_heads(seconds: float, max_bytes: int, refuse: Refuse | None = None) -> None:
    """Have every server that this process starts from now on use `HeadLimit`.

    Args:
        seconds: From the first byte of a head, or the connection's opening, to the end of the head.
        max_bytes: Of a head.
        refuse: Asked for each request, once its head is read.
    """
    HeadLimit.seconds, HeadLimit.max_bytes = seconds, max_bytes
    HeadLimit.refuse = None if refuse is None else staticmethod(refuse)
    uvicorn.config.HTTP_PROTOCOLS["auto"] = _NAME


class HeadLimit(HttpToolsProtocol):
    """uvicorn's own, which closes a connection whose head does not come in time or does not end.

    Attributes:
        seconds: See `limit_heads`.
        max_bytes: See `limit_heads`; the piece that a head begins in, at most 256 KiB, is not counted.
        refuse: See `limit_heads`.
    """

    seconds: ClassVar[float] = 10.0
    max_bytes: ClassVar[int] = 65_536
    refuse: ClassVar[Any] = None

    _waiting: asyncio.TimerHandle | None = None
    _n_bytes = 0
    _has_begun = False
    # Of the request that comes: whether it was refused, so that what follows its head is for nobody, and what then.
    _is_refused = _closes = False

    def connection_made(self, transport: Any) -> None:
        """Expect a head."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._settle()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins: the first one, or that of the next request."""
        self._has_begun = True
        self._expect()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self.refuse is not None and self.parser.get_method() == b"POST" and self._refuse():
            self._has_begun = False  # and the rest, or the next head, is expected as after an opening
            return
        self._settle()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Nobody reads what is refused."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if not self._is_refused:
            super().on_message_complete()
            return
        self._is_refused = False
        if self._closes:
            self._settle()
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Count what comes of a head after the piece that it began in."""
        begun, is_refused = self._waiting, self._is_refused
        super().data_received(data)
        if is_refused or self._waiting is None or self._waiting is not begun:
            return
        self._n_bytes += len(data)
        if self._n_bytes > self.max_bytes:
            self._close(431, b"Request Header Fields Too Large", b"Cannot read the request: its headers are too long.")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the one form of all errors."""
        self._close(400, b"Bad Request", b"Cannot read the request: it is no valid HTTP.")

    def _refuse(self) -> bool:
        """Refuse a request whose head is read, where it is one too many. Not one that waits for another's answer.

        A client that does not read what it is refused with is hung up on: each refusal would be kept for it.
        """
        is_waiting = self.cycle is not None and not self.cycle.response_complete
        if is_waiting or self.parser.should_upgrade():
            return False
        if self.flow.write_paused:
            self._is_refused, self._closes = True, False  # and so is what came with it
            self.transport.close()
            return True
        refusal = self.refuse(self.url, self.loop.call_soon)
        if refusal is None:
            return False
        self._is_refused = True
        self._closes = self.parser.get_http_version() == "1.0" or not self.parser.should_keep_alive()
        self.transport.write(refusal.http(self.headers, self.server_state.default_headers, closes=self._closes))
        self.server_state.total_requests += 1
        return True

    def _expect(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._n_bytes = 0
        self._waiting = self.loop.call_later(self.seconds, self._too_late)

    def _settle(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._has_begun = False

    def _too_late(self) -> None:
        self._waiting = None
        if self.transport.is_closing():
            self.transport.abort()  # what was written is not read
        elif self._has_begun:
            self._close(408, b"Request Timeout", b"Cannot read the request: its headers did not come in time.")
        else:
            self.transport.close()

    def _close(self, status: int, phrase: bytes, sentence: bytes) -> None:
        self._settle()
        if not self.transport.is_closing():
            # No header was read to the end, so the caller's own id is not known.
            request_id = time_ordered_id().encode()
            body = _BODY % (sentence, request_id)
            self.transport.write(_ANSWER % (status, phrase, len(body), request_id, body))
            self.transport.close()
