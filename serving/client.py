"""Clients of a shop's service: `Client` waits for answers, `AsyncClient` awaits them.

```python
with Client("http://127.0.0.1:3000", key="som_…") as client:
    for item in client.recommend(RecommendRequest(user_id="u10001", k=5)).items:
        print(item.item_id, item.label)
```
Nothing that computes is imported: no torch, no BentoML.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr
from tenacity import AsyncRetrying, Retrying

from core.keys import KEY_FAULT, KEY_FORM, fits_header, key_header
from serving.api.feedback import Feedback, FeedbackRequest, TextPiece
from serving.calls.call import Call, new_request_id
from serving.calls.endpoints import Endpoints
from serving.calls.retries import Retries
from serving.calls.texts import TextReader, text_call
from serving.errors import BadRequest, NoAnswer, RequestFailed

__all__ = ["AsyncClient", "Client", "NoAnswer", "RequestFailed", "Retries"]

Answer = TypeVar("Answer")

# Beyond the service's own limit for an answer, so that its sentence arrives.
_TIMEOUT_S = 65.0
_FAILED = "Cannot make a client"


class Client(Endpoints):
    """Asks a service, and waits for its answers. Threads may share one; `close` it, or use it in a `with` statement.

    Each method raises `RequestFailed` where there is no answer, with the service's sentence and status; `NoAnswer`,
    which is one of those, where the service itself said nothing.

    Args:
        url: Of the service.
        key: An API key, where the service needs one.
        timeout_s: How long a try waits for a connection, and for each next part of an answer, seconds.
        retries: When a request is sent again.
        transport: In place of httpx's own, which goes past any proxy of the environment.
    Raises:
        BadRequest: the address or the key is none.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr | str | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url, self._retries = url, retries or Retries()
        self._http = httpx.Client(**_connection(url, key, timeout_s), transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def ask(self, call: Call[Answer]) -> Answer:
        """Send a call, again where that may help, and read its answer."""
        return call.read(self._send(call))

    def stream_feedback(self, request: FeedbackRequest) -> Generator[TextPiece | Feedback, None, None]:
        """Texts in pieces: a `TextPiece` per sentence, and behind the last one of a text the whole `Feedback`.

        Sent again only until the stream begins. Whoever stops reading early closes the iterator, and nobody writes on.

        Raises:
            RequestFailed: the service refused, or broke off with a sentence.
            NoAnswer: the stream broke off.
        """
        call = text_call(request)
        response = self._send(call, stream=True)
        reader = TextReader(call, response, request)
        try:
            for chunk in response.iter_bytes():
                yield from reader.read(chunk)
            reader.finish()
        except httpx.RequestError as error:
            raise reader.broken(error) from error
        finally:
            response.close()

    def _send(self, call: Call[Any], stream: bool = False) -> httpx.Response:
        request_id = new_request_id()

        def try_once() -> httpx.Response:
            request = call.request(self._http, request_id)
            try:
                response = self._http.send(request, stream=stream)
                if not response.is_success:
                    response.read()
            except httpx.RequestError as error:
                raise call.no_answer(request, error) from error
            call.check(response)
            return response

        return Retrying(**self._retries.of(call))(try_once)


class AsyncClient(Endpoints):
    """The same for asyncio: every method is awaited, and `stream_feedback` iterated over with `async for`.

    Args and errors are those of `Client`.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr | str | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url, self._retries = url, retries or Retries()
        self._http = httpx.AsyncClient(**_connection(url, key, timeout_s), transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def ask(self, call: Call[Answer]) -> Answer:
        """Send a call, again where that may help, and read its answer."""
        return call.read(await self._send(call))

    async def stream_feedback(self, request: FeedbackRequest) -> AsyncGenerator[TextPiece | Feedback, None]:
        """As `Client.stream_feedback`; `aclose` ends it early."""
        call = text_call(request)
        response = await self._send(call, stream=True)
        reader = TextReader(call, response, request)
        try:
            async for chunk in response.aiter_bytes():
                for message in reader.read(chunk):
                    yield message
            reader.finish()
        except httpx.RequestError as error:
            raise reader.broken(error) from error
        finally:
            await response.aclose()

    async def _send(self, call: Call[Any], stream: bool = False) -> httpx.Response:
        request_id = new_request_id()

        async def try_once() -> httpx.Response:
            request = call.request(self._http, request_id)
            try:
                response = await self._http.send(request, stream=stream)
                if not response.is_success:
                    await response.aread()
            except httpx.RequestError as error:
                raise call.no_answer(request, error) from error
            call.check(response)
            return response

        return await AsyncRetrying(**self._retries.of(call))(try_once)


def _connection(url: str, key: SecretStr | str | None, timeout_s: float) -> dict[str, Any]:
    """What both clients tell httpx."""
    secret = SecretStr(key) if isinstance(key, str) else key
    if secret is not None and not fits_header(secret):
        raise BadRequest(_FAILED, got="key=<hidden>", expected=KEY_FORM, do=KEY_FAULT)
    expected = "http:// or https:// before a host"
    with suppress(httpx.InvalidURL, UnicodeEncodeError):
        parsed = httpx.URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            pass
        elif parsed.userinfo and secret is not None:
            expected = "no name and password before the host beside a key, as one header holds either"
        else:
            return {"base_url": parsed, "headers": key_header(secret), "timeout": timeout_s, "trust_env": False}
    # What stands before an @ may be a password.
    raise BadRequest(_FAILED, got=f"url={url.rpartition('@')[2]!r}", expected=expected, do="Correct it")
