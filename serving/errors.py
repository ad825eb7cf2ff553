"""What can go wrong between a request and its answer, each with its HTTP status."""

from __future__ import annotations

from functools import partial

from core.errors import NotRunning, SommelierError


class ServingError(SommelierError):
    """Base of the errors of `serving`. `status` is the HTTP status of the answer."""

    status: int = 500


class BadRequest(ServingError):
    """The request cannot be read, or a value in it is out of range."""

    status = 400


class RecordUnreadable(ServingError):
    """What decides on an answer cannot be read."""

    status = 503


class UnknownItem(ServingError):
    """An item of the request is not in the catalogue of the bundle in service."""

    status = 404


class UnknownVariant(ServingError):
    """The request names a variant that is not loaded."""

    status = 404


class NoReadmission(ServingError):
    """The request is about a readmission that does not wait."""

    status = 404


class TooLate(ServingError):
    """The request would undo or repeat what has begun."""

    status = 409


class NotAllowed(ServingError):
    """The request asks for what its API key lacks the scope for."""

    status = 403


class UnknownUser(ServingError):
    """A user that a request is about is not in the online store, or nothing of theirs can be used."""

    status = 404


class CapabilityMissing(ServingError):
    """The bundle in service was trained on data that does not allow this answer.

    501 and not a 4xx: the request is right, and the same request works as soon as a bundle with the part is promoted.
    """

    status = 501


class TooBusy(ServingError):
    """As many requests for texts wait as may.

    Args:
        n_waiting: Requests.
        limit: How many may wait.
        retry_after_s: When there may be room, seconds.
    """

    status = 429

    def __init__(self, n_waiting: int, limit: int, retry_after_s: int) -> None:
        self.n_waiting, self.limit, self.retry_after_s = n_waiting, limit, retry_after_s
        super().__init__(
            "Cannot write a text now",
            got=f"waiting={n_waiting} requests",
            expected=f"fewer than serving.feedback_waiting={limit}",
            do=f"Ask again in {retry_after_s} s",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return TooBusy, (self.n_waiting, self.limit, self.retry_after_s)


class TooSlow(ServingError):
    """A text was not written in its time; nobody writes on it.

    Args:
        setting: That says how long it may take.
        limit_s: How long that is.
    """

    status = 504

    def __init__(self, setting: str, limit_s: float) -> None:
        self.setting, self.limit_s = setting, limit_s
        super().__init__(
            "Cannot write the text in time",
            got=f"seconds>{limit_s:g}",
            expected=f"at most {setting}={limit_s:g}",
            do="Ask for fewer or shorter texts, or ask again when fewer ask",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return TooSlow, (self.setting, self.limit_s)


class ServiceMisconfigured(ServingError):
    """The service was started in an environment in which it cannot find its models."""


class RequestFailed(ServingError):
    """A request that was answered with a sentence in place of an answer, or not at all (`NoAnswer`).

    Args:
        sentence: Whole, as the service says it.
        status: HTTP status of the answer; 0 where none came.
        request_id: What the request carried as `X-Request-Id`; None of one that was never sent.
        retry_after_s: In how many seconds the service wants to be asked again, where it says so.
        was_sent: Whether the service may have had the request.
    """

    def __init__(
        self,
        sentence: str,
        *,
        status: int = 400,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        was_sent: bool = True,
    ) -> None:
        self.sentence, self.status, self.request_id = sentence, status, request_id
        self.retry_after_s, self.was_sent = retry_after_s, was_sent
        super().__init__("Refused", got=sentence, expected="an answer", do="Read the sentence")

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[object, ...]:
        kept = {name: getattr(self, name) for name in ("status", "request_id", "retry_after_s", "was_sent")}
        return partial(type(self), **kept), (self.sentence,)


class NoAnswer(RequestFailed, NotRunning):
    """No answer of the service came: nothing listens there, it took too long, or something else answered."""


def is_failure(error: Exception) -> bool:
    """Whether what a client is answered of it has a status from 500 on: no fault of theirs."""
    return not isinstance(error, ServingError) or error.status >= 500
