"""A service for clients' tests, in place of the network: what it answers in turn, and what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from serving.calls.retries import Retries
from serving.client import AsyncClient, Client

URL = "http://shop"
SCORES = {"model": "m", "user_id": "u1", "cold_start": False, "reason": None, "items": []}
QUICK = Retries(first_wait_s=0.001)


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces, which may break off with an error."""

    def __init__(self, pieces: list[bytes | Exception]) -> None:
        self._pieces, self.is_closed = pieces, False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


class Answers:
    """Answers in turn: an error is raised, a response given, anything else sent as the JSON of a success."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            return httpx.Response(200, json=answer)
        if isinstance(answer.stream, Pieces):
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)  # one for each test

    def client(self, retries: Retries = QUICK, **more: Any) -> Client:
        return Client(URL, retries=retries, transport=httpx.MockTransport(self), **more)

    def async_client(self, retries: Retries = QUICK, **more: Any) -> AsyncClient:
        return AsyncClient(URL, retries=retries, transport=httpx.MockTransport(self), **more)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content or b"null") for request in self.asked]


def refused(status: int, sentence: str = "No.", **headers: str) -> httpx.Response:
    """An answer that is a problem."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json={"error": sentence}, headers=named)
