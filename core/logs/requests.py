"""Which request is being answered: its id, for log lines, records and errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.ids import time_ordered_id

MAX_CHARS = 128
# Nothing that would have to be quoted in a header, in JSON, or where logs are searched.
_WELL_FORMED = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_CHARS}}}")

_REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id_of(given: str | None) -> str:
    """The id that a caller gave, where it is well-formed; else a new one.

    Args:
        given: As it came: 1 to 128 letters, digits, dots, dashes and underscores, or anything else.
    """
    return given if given is not None and _WELL_FORMED.fullmatch(given) else time_ordered_id()


def current_request_id() -> str | None:
    """The id of the request that is being answered; several with a space between, where requests are answered
    together; None outside of any.
    """
    return _REQUEST_ID.get()


def set_request_id(request_id: str | None) -> None:
    """Say which request it is, for what is called from here on."""
    _REQUEST_ID.set(request_id)


@contextmanager
def answering(request_ids: Iterable[str | None]) -> Iterator[None]:
    """Say for the time of the block, in a thread that works for others, which requests it works for."""
    known = dict.fromkeys(one for one in request_ids if one is not None)
    token = _REQUEST_ID.set(" ".join(known) or None)
    try:
        yield
    finally:
        _REQUEST_ID.reset(token)
