"""The API's version in its paths: every endpoint stands under /v1, and the paths of earlier releases lead there.

A path without a version is answered as its successor, counted as it, and marked in the answer's headers.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Since when they are deprecated, as RFC 9745 writes a day: 26 November 2026.
SINCE = "@1795651200"


class EarlierPaths:
    """Answers the paths of earlier releases as those under /v1, and says so in the headers.

    Stands outermost: everything within it knows an endpoint by one path.

    Args:
        app: The next app.
        successors: From each earlier path to the path that answers it.
    Source: RFC 9745 for `Deprecation`, RFC 5829 for the link's relation.
    """

    def __init__(self, app: ASGIApp, successors: dict[str, str]) -> None:
        self._app = app
        self._successors = successors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        successor = self._successors.get(scope["path"]) if scope["type"] == "http" else None
        if successor is None:
            await self._app(scope, receive, send)
            return

        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["deprecation"] = SINCE
                headers.append("link", f'<{successor}>; rel="successor-version"')
            await send(message)

        await self._app({**scope, "path": successor, "raw_path": successor.encode()}, receive, mark)
