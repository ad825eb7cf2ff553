"""A limit on the head of a request: its bytes, and how long it may take to come.

No app sees a request before its head is whole, so a client that sends a header a minute, or headers without an end, is
met here: a connection class of uvicorn's that closes such a connection. The body is the business of `JsonBodyLimit`.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.ids import time_ordered_id

_ANSWER = (
    b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %s\r\nconnection: close"
    b"\r\n\r\n%s"
)
_BODY = b'{"error":"%s","request_id":"%s"}'
_NAME = f"{__name__}:HeadLimit"


def limit_heads(seconds: float, max_bytes: int) -> None:
    """Have every server that this process starts from now on use `HeadLimit`.

    Args:
        seconds: From the first byte of a head, or the connection's opening, to the end of the head.
        max_bytes: Of a head.
    """
    HeadLimit.seconds, HeadLimit.max_bytes = seconds, max_bytes
    uvicorn.config.HTTP_PROTOCOLS["auto"] = _NAME


class HeadLimit(HttpToolsProtocol):
    """uvicorn's own, which closes a connection whose head does not come in time or does not end.

    Attributes:
        seconds: See `limit_heads`.
        max_bytes: See `limit_heads`; the piece that a head begins in, at most 256 KiB, is not counted.
    """

    seconds: ClassVar[float] = 10.0
    max_bytes: ClassVar[int] = 65_536

    _waiting: asyncio.TimerHandle | None = None
    _n_bytes = 0
    _has_begun = False

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
        self._settle()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what comes of a head after the piece that it began in."""
        begun = self._waiting
        super().data_received(data)
        if self._waiting is None or self._waiting is not begun:
            return
        self._n_bytes += len(data)
        if self._n_bytes > self.max_bytes:
            self._close(431, b"Request Header Fields Too Large", b"Cannot read the request: its headers are too long.")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the one form of all errors."""
        self._close(400, b"Bad Request", b"Cannot read the request: it is no valid HTTP.")

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
        if self._has_begun:
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
