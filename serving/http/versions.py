"""The API's version in its paths: every endpoint stands under /v1, and the paths of earlier releases lead there.

A path without a version is answered as its successor, counted as it, and marked in the answer's headers.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class EarlierPaths:
    """Answers the paths of earlier releases as those under /v1, and says so in the headers.

    Stands outermost: everything within it knows an endpoint by one path.

    Args:
        app: The next app.
        successors: From each earlier path to the path that answers it.
    Source: https://datatracker.ietf.org/doc/html/rfc8594#section-6 and the drafts of RFC 9745, for the headers.
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
                headers["deprecation"] = "true"
                headers.append("link", f'<{successor}>; rel="successor-version"')
            await send(message)

        await self._app({**scope, "path": successor, "raw_path": successor.encode()}, receive, mark)
