"""What pages show are answers of the API: a page asks the methods that its endpoints ask, and says what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.api.problem import explain


@dataclass(frozen=True)
class Answer:
    """An answer of the API, or its refusal.

    Attributes:
        body: The answer; empty where there is none.
        error: The sentence of a refusal; empty where there is an answer.
        status: Of HTTP.
    """

    body: dict[str, Any]
    error: str = ""
    status: int = 200

    def __bool__(self) -> bool:
        return not self.error


async def ask(method: Any, model: type[BaseModel], **fields: Any) -> Answer:
    """Ask an endpoint that takes a body; fields without a value are left out.

    Args:
        method: The service's, of the endpoint; BentoML's wrapper around it would ask over HTTP.
        model: Of its request.
        fields: Of the request.
    """
    given = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    try:
        request = model.model_validate(given)
    except ValidationError as error:
        return Answer({}, explain(error), 400)
    return _of(await method.local(request))


async def read(method: Callable[..., Any], *args: Any) -> Answer:
    """Ask what is read with GET, in a thread: it looks into files or the online store."""
    return _of(await run_in_threadpool(method, *args))


def _of(found: Any) -> Answer:
    if isinstance(found, BaseModel):
        return Answer(found.model_dump(mode="json"))
    if isinstance(found, Response):
        body = json.loads(bytes(found.body))
        error = "" if found.status_code < 400 else str(body.get("error", "no answer"))
        return Answer({} if error else body, error, found.status_code)
    raise TypeError(f"{type(found).__name__}, expected a model or a response")
