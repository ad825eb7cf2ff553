"""Headers that tell a browser what it may do with an answer: next to nothing."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = "content-security-policy"
# What every answer has that has no policy of its own.
PLAIN = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    _POLICY: "default-src 'none'; frame-ancestors 'none'",
}


class SecurityHeaders:
    """Adds to every answer that it is of no other type than it says, and that no page may frame it or run it.

    An answer that has a policy of its own keeps it.

    Args:
        app: The next app.
        policy: Of an answer that has none of its own.
    """

    def __init__(self, app: ASGIApp, policy: str = PLAIN[_POLICY]) -> None:
        self._app = app
        self._raw = tuple((name.encode(), value.encode()) for name, value in {**PLAIN, _POLICY: policy}.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                names = {name.lower() for name, _ in given}
                message = {**message, "headers": [*given, *(pair for pair in self._raw if pair[0] not in names)]}
            await send(message)

        await self._app(scope, receive, add)


def page_policy(script: str = "") -> str:
    """The policy of a page of our own: files and answers of this service, its one script, and styles.

    Args:
        script: What stands in the page's `<script>`, to the letter; empty for a page that runs none.
    """
    digest = b64encode(sha256(script.encode()).digest()).decode()
    scripts = f"'self' 'sha256-{digest}'" if script else "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
