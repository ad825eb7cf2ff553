"""Requests that are answered together: each has its answer, or the error that it alone fails with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from core.errors import as_exception

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


def each_or_error(answer: Callable[[Asked], Answered], requests: Sequence[Asked]) -> list[Answered | Exception]:
    """The answer to each, or what it raises."""
    found: list[Answered | Exception] = []
    for request in requests:
        try:
            found.append(answer(request))
        except BaseException as error:
            found.append(as_exception(error))
    return found


def all_or_each(
    answer_all: Callable[[Sequence[Asked]], Sequence[Answered]],
    answer: Callable[[Asked], Answered],
    requests: Sequence[Asked],
) -> Sequence[Answered | Exception]:
    """The answers to all at once; where these fail, each has its own, so that the others do not fail with one."""
    try:
        return answer_all(requests)
    except BaseException as error:
        as_exception(error)  # which raises what ends the process
        return each_or_error(answer, requests)


def answer_of(found: Answered | Exception) -> Answered:
    """An answer; raises what stands in its place."""
    if isinstance(found, Exception):
        raise found
    return found


def each_by(
    answer: Callable[[Any], Callable[[Any], Answered]],
) -> Callable[[Any, Sequence[Any]], list[Answered | Exception]]:
    """For requests that share no computation: each is answered by what an engine answers it with."""
    return lambda engine, requests: each_or_error(answer(engine), requests)
