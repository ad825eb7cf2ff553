"""Answers as HTTP responses, for what BentoML does not make of the model that an endpoint returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from serving.api.problem import Problem


def respond(answer: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    """The answer as JSON. Typed as anything, because an endpoint declares the model and not the response."""
    return Response(answer.model_dump_json(), status_code=status, headers=headers, media_type="application/json")


def refuse(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Any:
    """An error."""
    content = Problem(error=sentence).model_dump_json(exclude_none=True)  # the id comes to it on the way out
    return Response(content, status_code=status, headers=headers, media_type="application/json")
