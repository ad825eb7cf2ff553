"""A call of the API, and the methods that describe calls, said once for both clients."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import update_wrapper, wraps
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, overload
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from core.ids import time_ordered_id
from serving.api.message import API_PREFIX, Message
from serving.api.problem import Problem
from serving.errors import BadRequest, NoAnswer, RequestFailed

REQUEST_ID = "X-Request-Id"
# What a refused connection, or no free one, raises: nothing of the request was sent.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_MESSAGES = {"content-type": "application/json"}

P = ParamSpec("P")
Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)


@dataclass(frozen=True)
class Call(Generic[Answer_co]):
    """What one request says, and what its answer is.

    Attributes:
        path: Below `/v1`, with its ids quoted.
        answers: What a success may be; the first that fits is read.
        body: Sent without the fields that were not given: those have the service's own defaults.
        may_repeat: Whether it may be sent again where it is not known if the service had it.
        may_repeat_late: Whether also where the service took too long (504): what only reads would cost as much again.
        done: What is to happen once its answer was read.
        query: What stands behind the question mark of the address.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    answers: tuple[type[Answer_co], ...]
    body: Message | None = None
    may_repeat: bool = False
    may_repeat_late: bool = False
    done: Callable[[], None] | None = None
    query: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The path, with the version of the API."""
        return f"{API_PREFIX}{self.path}"

    def request(self, http: httpx.Client | httpx.AsyncClient, request_id: str) -> httpx.Request:
        """The request, for a connection to send.

        Raises:
            BadRequest: it holds what is no text.
        """
        content = None if self.body is None else self.body.model_dump_json(exclude_unset=True)
        headers = {REQUEST_ID: request_id, **(_MESSAGES if content is not None else {})}
        params = self.query or None
        try:
            return http.build_request(self.method, self.url, params=params, content=content, headers=headers)
        except UnicodeEncodeError as error:
            raise _unwritable(f"query={dict(self.query)!r}") from error

    def read(self, response: httpx.Response) -> Answer_co:
        """The answer of a success. Fields that a newer service has added are passed over.

        Raises:
            NoAnswer: it is none of this service.
        """
        errors = []
        for kind in self.answers:
            try:
                answer: Answer_co = kind.model_validate_json(response.content, extra="ignore")  # type: ignore[attr-defined]
            except ValidationError as error:
                errors.append(error)
                continue
            if self.done is not None:
                self.done()
            return answer
        raise self.no_answer(response.request, str(errors[0]), response)

    def check(self, response: httpx.Response) -> None:
        """See that a response is a success; its body has to be read where it is none.

        Raises:
            RequestFailed: the service refused.
            NoAnswer: something else did.
        """
        if response.is_success:
            return
        try:
            sentence = Problem.model_validate_json(response.content, extra="ignore").error
        except ValidationError:
            raise self.no_answer(response.request, f"status {response.status_code}", response) from None
        raise RequestFailed(
            sentence,
            status=response.status_code,
            request_id=_id_of(response.request, response),
            retry_after_s=_retry_after_s(response),
        )

    def no_answer(
        self, request: httpx.Request, error: Exception | str, response: httpx.Response | None = None
    ) -> NoAnswer:
        """That no answer of the service came."""
        # Of a request that is no HTTP, httpx quotes what is not, which may hold the key.
        shown = type(error).__name__ if isinstance(error, httpx.LocalProtocolError) else str(error)
        said = (shown or type(error).__name__).splitlines()[0]
        where = str(request.url.copy_with(query=None, userinfo=b"")).removesuffix(self.url)
        return NoAnswer(
            f"Cannot ask {self.url}: error={said}, expected an answer of the service ({where}). See that it runs and "
            "what its log says, and ask again.",
            status=0 if response is None else response.status_code,
            request_id=_id_of(request, response),
            retry_after_s=None if response is None else _retry_after_s(response),
            was_sent=not isinstance(error, _UNSENT),
        )


class Asks(Protocol):
    """A client that waits for answers."""

    def ask(self, call: Call[Answer]) -> Answer:
        """Send a call, and read its answer."""
        ...


class AsksAsync(Protocol):
    """A client whose answers are awaited."""

    async def ask(self, call: Call[Answer]) -> Answer:
        """Send a call, and read its answer."""
        ...


class Described(Generic[P, Answer]):
    """A method that describes a call; of a client it sends the call.

    Args:
        describe: From what a user of the client says to the call.
    """

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[Answer]]) -> None:
        self._describe = describe
        update_wrapper(self, describe)  # type: ignore[arg-type]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[Answer]:
        """The call, without sending it."""
        return self._describe(None, *args, **kwargs)

    @overload
    def __get__(self, client: None, owner: type) -> Described[P, Answer]: ...

    @overload
    def __get__(self, client: Asks, owner: type) -> Callable[P, Answer]: ...

    @overload
    def __get__(self, client: AsksAsync, owner: type) -> Callable[P, Awaitable[Answer]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        @wraps(self._describe)
        def ask(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.ask(self(*args, **kwargs))

        return ask


def new_request_id() -> str:
    """What a request is called in the logs that it passes, the same at every try."""
    return time_ordered_id()


def quoted(id_: str) -> str:
    """An id as one part of a path, whatever stands in it.

    Raises:
        BadRequest: it is no text that can be sent.
    """
    try:
        # Dots alone would lead out of the folder.
        return quote(id_, safe="") if id_.strip(".") else id_.replace(".", "%2E")
    except UnicodeEncodeError as error:
        raise _unwritable(f"id={id_!r}") from error


def _unwritable(got: str) -> BadRequest:
    return BadRequest("Cannot ask", got=got, expected="text that UTF-8 can write, without half a pair", do="Correct it")


def asked(**query: str | int | None) -> dict[str, str | int]:
    """What is asked in an address: what has a value."""
    return {name: value for name, value in query.items() if value is not None}


def _id_of(request: httpx.Request, response: httpx.Response | None) -> str | None:
    """The service's own name for the request, where it gives one; else ours."""
    return (None if response is None else response.headers.get(REQUEST_ID)) or request.headers.get(REQUEST_ID)


def _retry_after_s(response: httpx.Response) -> float | None:
    """`Retry-After`, which is seconds or a date; None without one that can be read."""
    said = response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            moment = parsedate_to_datetime(said)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
