"""Overload is answered before anything is computed for it: so many requests of a kind at once, and no more.

Outermost, and the cheapest answer that there is: under overload most requests are refused, and what refusing costs is
taken from those that are answered. So most are refused as soon as their head is read, by the connection, before there
is a task or an app for them; the app of the gate refuses what is left, with the same words. Each kind has its own
limit, so that one never keeps the others waiting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from core.logs.requests import request_id_of
from core.settings.platform import InFlight
from serving.api.endpoints import ENDPOINTS, SUCCESSORS
from serving.api.message import API_PREFIX
from serving.guard.access import find_row
from serving.guard.cors import OriginHeaders
from serving.http.headers import PLAIN
from serving.http.request_ids import FIELD, given_id

# lists and scores; texts; clients' events; what needs the scope admin; all else: pages, the model, reads of items.
Kind = Literal["answers", "texts", "events", "admin", "others"]
STATUS = 429
RETRY_AFTER_S = 1
_TEXTS, _EVENTS = f"{API_PREFIX}/feedback", f"{API_PREFIX}/events"
# Every other endpoint that takes a body and changes nothing is answered by the bundle.
_POSTS = [endpoint for endpoint in ENDPOINTS if endpoint.method == "post" and not endpoint.is_change]
ANSWERED_TOGETHER = frozenset(endpoint.path for endpoint in _POSTS) - {_TEXTS, _EVENTS}


def _kind_of(path: str) -> Kind:
    return "texts" if path == _TEXTS else "events" if path == _EVENTS else "answers"


KINDS: Mapping[str, Kind] = {
    path: _kind_of(endpoint.path) for endpoint in _POSTS for path in (endpoint.path, endpoint.earlier) if path
}
FREE = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})


@dataclass
class Flights:
    """The requests of a kind.

    Attributes:
        limit: How many may be worked on or wait.
        now: How many do.
        coming: How many more will as soon as the event loop comes to them.
        refused: By path, since `OverloadGate.take_refused` was last called.
    """

    limit: int
    now: int = 0
    coming: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class OverloadGate:
    """Refuses requests over the limit of their kind with 429 and `Retry-After`.

    Args:
        limits: Of each kind.
        kinds: Of paths; any other is of the kind `admin` where a row of `serving.guard.access` says that it needs that
            scope, and else `others`. Who lacks the scope is refused further in, before they wait for anything.
        free: Paths without a limit: an operator, or what restarts a service, has to reach them under any load.
        origins: Whose pages may read a refusal; see `OriginHeaders`. A browser's question before it asks computes
            nothing, and is never refused: no page could tell why.
    """

    def __init__(
        self,
        limits: InFlight,
        kinds: Mapping[str, Kind] = KINDS,
        free: frozenset[str] = FREE,
        origins: tuple[str, ...] = (),
    ) -> None:
        self._free, self._origins = free, OriginHeaders(origins)
        self._free_method = "OPTIONS" if origins else ""
        self._flights: dict[Kind, Flights] = {
            "answers": Flights(limits.answers),
            "texts": Flights(limits.texts),
            "events": Flights(limits.events),
            "admin": Flights(limits.admin),
            "others": Flights(limits.others),
        }
        self._of_path = {path: self._flights[kind] for path, kind in kinds.items()}
        self._of_target = {path.encode(): (path, flights) for path, flights in self._of_path.items()}
        self._admin, self._others = self._flights["admin"], self._flights["others"]
        self._refusals = {
            id(flights): _refusal(kind, flights.limit, self._origins) for kind, flights in self._flights.items()
        }
        self._is_any_coming = False

    def now(self, kind: Kind) -> int:
        """How many requests of a kind are worked on or wait."""
        return self._flights[kind].now

    def take_refused(self) -> dict[str, int]:
        """How many requests were refused since this was last asked, by path: earlier ones count as their successors,
        as everywhere, and made-up ones as "other".
        """
        taken: dict[str, int] = {}
        for flights in self._flights.values():
            refused, flights.refused = flights.refused, {}
            for asked, number in refused.items():
                path = SUCCESSORS.get(asked, asked)
                taken[path] = taken.get(path, 0) + number
        return taken

    def refuse_early(self, target: bytes, soon: Callable[[Callable[[], None]], object]) -> Refusal | None:
        """What a POST is refused with whose head was just read; None for one that its app is to see.

        Args:
            target: Of the request, as it came.
            soon: Calls a function before any task that is made later begins: `call_soon` of the event loop.
        """
        path, flights = self._of_target.get(target.partition(b"?")[0], ("", None))
        if flights is None:
            return None
        if flights.now + flights.coming >= flights.limit:
            return self._refuse(flights, path)
        if not self._is_any_coming:
            # Whoever comes is counted by `now` from their task's first step on.
            self._is_any_coming = True
            soon(self._have_come)
        flights.coming += 1
        return None

    def _have_come(self) -> None:
        self._is_any_coming = False
        for flights in self._flights.values():
            flights.coming = 0

    def _refuse(self, flights: Flights, path: str) -> Refusal:
        flights.refused[path] = flights.refused.get(path, 0) + 1
        return self._refusals[id(flights)]

    def around(self, app: ASGIApp) -> ASGIApp:
        """An app behind this gate."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            await self._pass(app, scope, receive, send)

        return gated

    async def _pass(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        path = scope["path"]
        if path in self._free or scope["method"] == self._free_method:
            await app(scope, receive, send)
            return
        flights = self._of_path.get(path)
        if flights is None:
            row = find_row(scope["method"], path)
            flights, path = self._others if row is None or row.need != "admin" else self._admin, "other"
        if flights.now >= flights.limit:
            refusal = self._refuse(flights, path)
            headers = [*refusal.headers, *self._origins.of(scope.get("headers", ()))]
            await send({"type": "http.response.start", "status": STATUS, "headers": headers})
            await send({"type": "http.response.body", "body": refusal.content})
            return
        flights.now += 1
        try:
            await app(scope, receive, send)
        finally:
            flights.now -= 1


@dataclass(frozen=True)
class Refusal:
    """A refusal, made once.

    Attributes:
        content: The body.
        headers: For an app that answers with it.
        head: What stands behind the status line and the server's own headers, up to the length of the body.
        named: The body up to the id of the request.
        origins: What pages of other origins may read.
    """

    content: bytes
    headers: list[tuple[bytes, bytes]]
    head: bytes
    named: bytes
    origins: OriginHeaders

    def http(
        self, headers: Sequence[tuple[bytes, bytes]], own: Sequence[tuple[bytes, bytes]], *, closes: bool
    ) -> bytes:
        """The whole answer.

        Args:
            headers: Of the request.
            own: Headers that the server gives every answer.
            closes: Whether the connection is closed behind it.
        """
        named = request_id_of(given_id(headers)).encode()
        servers = b"".join(b"%s: %s\r\n" % pair for pair in (*own, *self.origins.of(headers)))
        last = b"connection: close\r\n" if closes else b""
        return b"HTTP/1.1 429 Too Many Requests\r\n%s%s%scontent-length: %d\r\nx-request-id: %s\r\n\r\n%s%s\"}" % (
            servers, self.head, last, len(self.named) + len(named) + 2, named, self.named, named,
        )  # fmt: skip


def _refusal(kind: Kind, limit: int, origins: OriginHeaders) -> Refusal:
    sentence = (
        f"Cannot answer now: requests in flight={limit}, expected fewer than serving.in_flight.{kind}={limit}. "
        f"Ask again in {RETRY_AFTER_S} s."
    )
    content = json.dumps({"error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"retry-after", str(RETRY_AFTER_S).encode()),
        *((name.encode(), value.encode()) for name, value in PLAIN.items()),
    ]
    return Refusal(
        content=content,
        headers=[*headers, (b"content-length", str(len(content)).encode())],
        head=b"".join(b"%s: %s\r\n" % pair for pair in headers),
        named=json.dumps({"error": sentence, FIELD: ""}, separators=(",", ":")).encode().removesuffix(b'"}'),
        origins=origins,
    )
