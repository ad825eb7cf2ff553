"""The gate before every endpoint: a valid key with the scope that the endpoint needs, where keys are needed."""

from __future__ import annotations

import logging
import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from core.keys import ApiKey, KeyFileError
from core.settings.platform import RateSettings, is_loopback
from serving.guard.access import Need, is_change, need_of
from serving.guard.caller import Caller, set_caller
from serving.guard.rates import TokenBuckets

logger = logging.getLogger(__name__)

FindKey = Callable[[str], ApiKey | None]
# By lower-case names.
Headers = Mapping[str, str]

# In the scope of a request that was refused as its caller asks too often.
THROTTLED = "sommelier.throttled"
_SCHEME = "Bearer"
_BASIC_REALM = 'Basic realm="sommelier: any name, and an API key as password", charset="UTF-8"'
_API = "/v1/"
_REALM = f'{_SCHEME} realm="sommelier"'
_PROBES = ("/livez", "/readyz")
_UNLIMITED = RateSettings()
_OWN_PAGE = ("same-origin", "none")
_MOST_HOSTS = 64


class KeyGate:
    """Answers 401 to whoever lacks a valid key, and 403 to one whose key lacks the scope.

    Both say nothing of which keys there are: an unknown, an expired and a revoked key get the same answer. A page of
    another origin may change nothing, by the rule of Go's CrossOriginProtection: a browser tells where its request
    comes from, and needs no leave to send some of them.

    Args:
        app: The next app.
        find: The valid key of what a client gave; None for anything else. Raises KeyFileError.
        needs_keys: Whether every request needs a key.
        by_address: Whether a request of somebody else than this machine needs one in any case: the service was told to
            listen elsewhere than its settings say, or stands behind a proxy.
        open_metrics: Whether /metrics needs none.
        origins: Other origins whose pages may ask, as a browser writes them; "*" for all.
        rates: How often each key and each address may ask.
        pages: Where pages stand, there and below: of them a browser reads, and it asks its user for the key.
        need: What a request needs, by its method and path.
    """

    def __init__(
        self,
        app: ASGIApp,
        find: FindKey,
        needs_keys: bool,
        by_address: bool = True,
        open_metrics: bool = False,
        origins: tuple[str, ...] = (),
        rates: RateSettings = _UNLIMITED,
        pages: str = "/app",
        need: Callable[[str, str], Need] = need_of,
    ) -> None:
        self._app = app
        self._find = find
        self._needs_keys = needs_keys
        self._by_address = by_address
        self._open_metrics = open_metrics
        self._origins = frozenset(origins)
        self._pages = pages.rstrip("/")
        self._need_of = need
        self._buckets = {name: TokenBuckets(getattr(rates, name)) for name in RateSettings.model_fields}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = self._admit(scope, _headers_of(scope))
        await (answer or self._app)(scope, receive, send)

    def _admit(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        """The refusal; None, and the caller is known from here on, where the request may pass."""
        asked = f"{scope['method']} {scope['path']}"
        if is_change(scope["method"]) and self._is_foreign(headers):
            sentence = "it comes from a page of another origin. Name the origin in serving.cors_origins to let it in."
            return _refusal(403, f"Cannot answer {asked}: {sentence}")
        takes_password = self._is_page(scope) or _is_of_own_page(scope, headers)
        given = _given(headers, takes_password)
        try:
            key = self._find(given) if given else None
        except KeyFileError:
            logger.exception("API keys cannot be checked")
            return _refusal(503, f"Cannot answer {asked}: API keys cannot be checked. Try again later.")
        is_trusted = not self._needs_keys and not (self._by_address and _is_from_outside(scope, headers))
        caller = Caller(key, is_trusted)
        set_caller(caller)
        need = self._need(scope)
        if wait_s := self._wait_s(scope, caller, need):
            scope[THROTTLED] = True
            sentence = f"too many requests. Ask again in {math.ceil(wait_s)} s."
            return _refusal(429, f"Cannot answer {asked}: {sentence}", {"retry-after": str(math.ceil(wait_s))})
        if need == "nothing" or caller.may(need):
            return None
        if key is None:
            fault = "the API key is not valid" if given else "no API key was given"
            header = f'{_REALM}, error="invalid_token"' if given else _REALM
            sentence = f"{fault}. Send one that `sommelier keys create` made: Authorization: {_SCHEME} <key>."
            header = _BASIC_REALM if takes_password else header  # a browser then asks for it
            return _refusal(401, f"Cannot answer {asked}: {sentence}", {"www-authenticate": header})
        header = f'{_REALM}, error="insufficient_scope", scope="{need}"'
        sentence = f"the API key lacks the scope {need}. Use a key that has it."
        return _refusal(403, f"Cannot answer {asked}: {sentence}", {"www-authenticate": header})

    def _wait_s(self, scope: Scope, caller: Caller, need: Need) -> float:
        """How long the caller has to wait by the rate limits; 0 where it may ask."""
        if caller.key is not None:
            return 0.0 if need == "nothing" else self._buckets[need].take(caller.key.id)
        client = scope.get("client")
        return 0.0 if client is None or scope["path"] in _PROBES else self._buckets["keyless"].take(client[0])

    def _need(self, scope: Scope) -> Need:
        if self._open_metrics and scope["path"] == "/metrics":
            return "nothing"
        return self._need_of(scope["method"], scope["path"])

    def _is_page(self, scope: Scope) -> bool:
        path = scope["path"]
        return (path == self._pages or path.startswith(f"{self._pages}/")) and not is_change(scope["method"])

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether a page of an origin sent it that is neither the service's own nor named."""
        origin = headers.get("origin")
        if origin is not None and ("*" in self._origins or origin in self._origins):
            return False
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in _OWN_PAGE
        return origin is not None and _host_of(origin) != headers.get("host")


def _is_of_own_page(scope: Scope, headers: Headers) -> bool:
    """Whether a browser says that a page of this very service asks the API; no page can say so itself.

    Browsers leave `Sec-Fetch-Site` out where the service has neither TLS nor a name of this machine.
    """
    if not scope["path"].startswith(_API):
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return _host_of(headers.get("origin", "")) == headers.get("host", "") != ""


def _host_of(origin: str) -> str:
    """The host, and port, of an origin; empty where it cannot be read: it is then no page of the service."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _given(headers: Headers, takes_password: bool) -> str:
    """The key that a client gave; empty where none is there.

    Of a page that is only read, and of what the service's own pages ask, also as the password that a browser asked for.
    Nothing else takes one: a browser sends it along with whatever another page makes it ask.
    """
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if takes_password and scheme.lower() == "basic":
        try:
            return b64decode(text, validate=True).decode().partition(":")[2].strip()
        except ValueError:
            return ""
    return text.strip() if scheme.lower() == _SCHEME.lower() else headers.get("x-api-key", "").strip()


def _is_from_outside(scope: Scope, headers: Headers) -> bool:
    """Whether somebody else than this machine asks, though the service may listen to nobody else.

    By an address of this machine that others reach; through a proxy that names its client, which uvicorn then takes for
    the client; or by a name that is not this machine's own, as a proxy passes on, or a page has whose name was turned
    to this address (DNS rebinding).
    """
    server, client = scope.get("server"), scope.get("client")
    if server is not None and server[1] is not None and not is_loopback(server[0]):
        return True
    if client is not None and not is_loopback(client[0]):
        return True
    return _names_another(headers.get("host", ""))


@lru_cache(maxsize=_MOST_HOSTS)
def _names_another(host: str) -> bool:
    """Whether a request's host is another name than this machine's own. Most requests name one of a few."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return True
    return bool(host) and not is_loopback(name or "")


def _headers_of(scope: Scope) -> Headers:
    """A request's headers, of each name the first: a dozen are asked for, and Starlette's own goes through all of them
    for each.
    """
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    # The body is not read, so the connection cannot be used again.
    return JSONResponse({"error": sentence}, status_code=status, headers={"connection": "close", **(headers or {})})
