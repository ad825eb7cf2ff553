"""Streamed texts: server-sent events out of the bytes as they come, whoever waits for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
from pydantic import ValidationError

from serving.api.feedback import Feedback, FeedbackRequest, TextPiece
from serving.api.problem import Problem
from serving.calls.call import Call
from serving.calls.requests import streamed
from serving.errors import NoAnswer, RequestFailed

# Lines end so, and only so: JSON may hold other characters that Python's splitlines would take for an end.
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BREAK = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def text_call(request: FeedbackRequest) -> Call[Feedback]:
    """The call of a stream of the texts of a request."""
    return Call("POST", "/feedback", (Feedback,), streamed(request), may_repeat=True)


class TextReader:
    """Reads the events of a stream.

    Args:
        call: That the stream answers.
        response: Whose body is read elsewhere.
        request: What was asked.
    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self, call: Call[Feedback], response: httpx.Response, request: FeedbackRequest) -> None:
        self._call, self._response = call, response
        self._left = 1 if request.pairs is None else len(request.pairs)
        self._unread = b""

    def read(self, chunk: bytes) -> Iterator[TextPiece | Feedback]:
        """The sentences and whole answers that are complete with the next bytes.

        Raises:
            RequestFailed: the service says that it cannot go on; its status is that of the answer, which had begun.
            NoAnswer: an event is none of this service.
        """
        *events, self._unread = _BREAK.split(self._unread + chunk)
        for event in events:
            fields = dict(_field(line) for line in _LINE_END.split(event) if line)
            yield from self._message(fields.get(b"event", b"message").decode(), fields.get(b"data", b""))

    def finish(self) -> None:
        """See that nothing is missing, when the bytes have ended.

        Raises:
            NoAnswer: a text is.
        """
        if self._left:
            raise self.broken(f"the stream ended, unfinished texts={self._left}")

    def broken(self, error: Exception | str) -> NoAnswer:
        """That the stream broke off."""
        return self._call.no_answer(self._response.request, error, self._response)

    def _message(self, name: str, data: bytes) -> Iterator[TextPiece | Feedback]:
        try:
            if name == "text":
                yield TextPiece.model_validate_json(data, extra="ignore")
            elif name == "feedback":
                self._left -= 1
                yield Feedback.model_validate_json(data, extra="ignore")
            elif name == "error":
                raise self._refused(Problem.model_validate_json(data, extra="ignore").error)
        except ValidationError as error:
            raise self.broken(error) from error

    def _refused(self, sentence: str) -> RequestFailed:
        told = self.broken(sentence)
        return RequestFailed(sentence, status=told.status, request_id=told.request_id)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")
