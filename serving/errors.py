"""What can go wrong between a request and its answer, each with its HTTP status."""

from __future__ import annotations

from typing import ClassVar

from core.errors import SommelierError


class ServingError(SommelierError):
    """Base of the errors of `serving`. `status` is the HTTP status of the answer."""

    status: ClassVar[int] = 500


class BadRequest(ServingError):
    """The request cannot be read, or a value in it is out of range."""

    status = 400


class UnknownItem(ServingError):
    """An item of the request is not in the catalogue of the bundle in service."""

    status = 404


class CapabilityMissing(ServingError):
    """The bundle in service was trained on data that does not allow this answer.

    501 and not a 4xx: the request is right, and the same request works as soon as a bundle with the part is promoted.
    """

    status = 501


class ServiceMisconfigured(ServingError):
    """The service was started in an environment in which it cannot find its models."""


class Refused(ServingError):
    """A request that was answered with a sentence in place of an answer.

    Args:
        sentence: Whole, as the service says it.
    """

    status = 400

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__("Refused", got=sentence, expected="an answer", do="Read the sentence")

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[object, ...]:
        return Refused, (self.sentence,)
