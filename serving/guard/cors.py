"""What pages of other origins may ask and read: by the setting `serving.cors_origins`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_EXPOSED = ["retry-after", "x-request-id"]

Pairs = tuple[tuple[bytes, bytes], ...]


def cors_options(origins: tuple[str, ...]) -> dict[str, Any]:
    """What Starlette's CORSMiddleware is to let pages of these origins do."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_headers": ["authorization", "content-type", "x-api-key", "x-request-id"],
        "expose_headers": _EXPOSED,
        "max_age": 600,
    }


class OriginHeaders:
    """The headers that CORSMiddleware adds, for answers that are given before it: without them no page could read
    that it is to wait.

    Args:
        origins: As a browser writes them; "*" for all.
    """

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._vary: Pairs = ((b"vary", b"Origin"),) if origins else ()
        self._read: Pairs = ((b"access-control-expose-headers", ", ".join(_EXPOSED).encode()), *self._vary)

    def of(self, asked: Iterable[tuple[bytes, bytes]]) -> Pairs:
        """Those of the answer to a request.

        Args:
            asked: The request's headers, with lower-case names.
        """
        if not self._origins:
            return ()
        origin = next((value for name, value in asked if name == b"origin"), None)
        if origin is None:
            return self._vary
        allowed = b"*" if b"*" in self._origins else origin if origin in self._origins else None
        return self._read if allowed is None else ((b"access-control-allow-origin", allowed), *self._read)
