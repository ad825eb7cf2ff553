"""Errors: the one body of every answer that is not a success, and the sentence for a request that does not fit."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from serving.api.message import Message

_SHOWN_CHARS = 60


class Problem(Message):
    """The body of every error."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "error": "Cannot recommend: k=500, expected 1 to 100.",
                "request_id": "019b76da-a800-7000-8000-000000000000",
            }
        }
    )

    error: str = Field(description="One sentence: what failed, the value, what is expected.")
    request_id: str | None = Field(
        None, description="Of the request, as the header X-Request-Id and the service's log have it."
    )


def explain(error: ValidationError) -> str:
    """One sentence for a request that does not fit its model: the first field at fault, its value, the rule."""
    first, *others = error.errors(include_url=False)
    field = ".".join(str(part) for part in first["loc"])
    value, rule = _shorten(first.get("input")), first["msg"].removeprefix("Value error, ")
    match first["type"]:
        case "json_invalid":
            said = f"the body is not JSON ({rule.removeprefix('Invalid JSON: ')})"
        case "missing":
            said = f"{field} is missing"
        case "extra_forbidden":
            said = f"{field} is not one of its fields"
        case _ if not field:
            said = rule if first["type"] == "value_error" else f"body={value}, expected a JSON object"
        case "literal_error":
            said = f"{field}={value}, expected {rule.removeprefix('Input should be ')}"
        case _:
            said = f"{field}={value}, {rule[0].lower()}{rule[1:]}"
    more = f"; {len(others)} more of its values are wrong" if others else ""
    return f"Cannot read the request: {said}{more}."


def _shorten(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
