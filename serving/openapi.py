"""The OpenAPI description of the service, and the page that shows it.

Made here from the request and answer models and not taken from BentoML: its own drops what it does not know
(constants, bounds of nested models), names error answers that never come, and its page loads a tracker from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.api import (
    EventsReceipt,
    EventsRequest,
    Feedback,
    FeedbackRequest,
    ModelInfo,
    Problem,
    Recommendations,
    RecommendRequest,
    ScoreRequest,
    Scores,
)

API_VERSION = "1.0.0"
_REF = "#/components/schemas/{model}"
_DESCRIPTION = """Recommends, scores and writes with the newest promoted bundle, and takes events in.

Every answer that is not a success is `{"error": "one sentence"}`."""
_PROBLEMS = {
    400: "Malformed JSON, a missing or unknown field, a wrong type, a value out of range; the sentence names it.",
    404: "An item that is asked about is not in the catalogue of the bundle in service.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    429: "Too many requests at once.",
    501: "The bundle in service lacks the part that answers this; the sentence says what data it needs.",
    503: "No bundle is loaded yet.",
    504: "The answer took too long.",
}


@dataclass(frozen=True)
class Endpoint:
    """One path of the service."""

    path: str
    method: Literal["get", "post"]
    summary: str
    description: str
    problems: tuple[int, ...] = ()
    request: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None


_EVERY_POST = (400, 413, 415, 429, 504)
ENDPOINTS = (
    Endpoint(
        "/recommend",
        "post",
        "Recommend items",
        "For a known user, for the bare history of a visitor, or for nobody in particular. An unknown user is no error:"
        " the answer is what is popular, marked `cold_start`. Items of a bare history that the catalogue does not have"
        " are skipped and named. What the user has seen does not come back: who has seen everything gets an empty list."
        " Filters by category and price hold whoever ranks.",
        (*_EVERY_POST, 501, 503),
        RecommendRequest,
        Recommendations,
    ),
    Endpoint(
        "/score",
        "post",
        "Score given items",
        "The probability that the user likes each item, and the rating they would give.",
        (*_EVERY_POST, 404, 501, 503),
        ScoreRequest,
        Scores,
    ),
    Endpoint(
        "/feedback",
        "post",
        "Write feedback text",
        "The review that the user would write of an item, or why the item suits them.",
        (*_EVERY_POST, 404, 501, 503),
        FeedbackRequest,
        Feedback,
    ),
    Endpoint(
        "/events",
        "post",
        "Report events",
        "Each accepted event is on the disk before the answer. 200: the next recommendation knows them."
        " 202: they are safe, and reach the online store shortly. Names of events may be the shop's own, and ratings on"
        " its own scale, where the recipe of the bundle in service maps them.",
        (*_EVERY_POST, 503),
        EventsRequest,
        EventsReceipt,
    ),
    Endpoint(
        "/model", "get", "The bundle in service", "What it learned from, how well, and since when.", (), None, ModelInfo
    ),
    Endpoint("/livez", "get", "Alive", "200 while the process runs."),
    Endpoint("/readyz", "get", "Ready", "200 when a bundle is loaded.", (503,)),
    Endpoint("/metrics", "get", "Prometheus metrics", "Text in Prometheus's format."),
)


def describe_api() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    taken = [(e.request, "validation") for e in ENDPOINTS if e.request is not None]
    given = [(e.answer, "serialization") for e in ENDPOINTS if e.answer is not None]
    _, definitions = models_json_schema([*taken, *given, (Problem, "serialization")], ref_template=_REF)  # type: ignore[list-item]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sommelier", "version": API_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "."}],
        "paths": {endpoint.path: {endpoint.method: _operation(endpoint)} for endpoint in ENDPOINTS},
        "components": {"schemas": definitions["$defs"]},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    answers = {"200": {"description": "Success", **(_content(endpoint.answer) if endpoint.answer else {})}}
    if endpoint.path == "/events":
        answers["202"] = {"description": "Kept, not pushed yet", **_content(EventsReceipt)}
    for status in sorted(endpoint.problems):
        answers[str(status)] = {"description": _PROBLEMS[status], **_content(Problem)}
    body = {"requestBody": {"required": True, **_content(endpoint.request)}} if endpoint.request else {}
    return {
        "summary": endpoint.summary,
        "description": endpoint.description,
        "operationId": endpoint.path.strip("/"),
        "tags": ["answers" if endpoint.request else "service"],
        **body,
        "responses": answers,
    }


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}}


# The style and scripts are the ones that BentoML carries and serves at /static_content: nothing comes from elsewhere.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sommelier API</title>
<link rel="stylesheet" href="static_content/swagger-ui.css">
<link rel="icon" href="data:,">
<style>body { margin: 0; background: #fafafa }</style>
</head>
<body>
<div id="api"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({ url: "docs.json", dom_id: "#api", tryItOutEnabled: true, defaultModelsExpandDepth: 0 })
</script>
</body>
</html>
"""
