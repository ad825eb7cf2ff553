"""The OpenAPI description of the service's endpoints.

Made here from the request and answer models and not taken from BentoML: its own drops what it does not know
(constants, bounds of nested models) and names error answers that never come.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.api.changes import UserForgotten
from serving.api.endpoints import ENDPOINTS, Endpoint
from serving.api.events import EventsReceipt
from serving.api.problem import Problem
from serving.api.quarantine import ReadmissionAsked
from serving.guard.access import need_of

API_VERSION = "1.1.0"
_REF = "#/components/schemas/{model}"
_DESCRIPTION = """Recommends, lists, searches and scores items, writes feedback text, and receives events.

The promoted bundle answers: a trained model with everything that it needs. One that cannot be loaded leaves the bundle
before it in service; `GET /v1/model` says so.

Where the service listens beyond its own machine, a request carries an API key, as `Authorization: Bearer <key>` or in
`X-API-Key`; its scope is said with each endpoint.

Every error is `{"error": "one sentence"}`."""
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key that `sommelier keys create` made."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
}
_PROBLEMS = {
    400: "Malformed JSON, a missing or unknown field, a wrong type, or a value out of range. The error names it.",
    401: "The service needs an API key, and none was given, or one that is not valid.",
    403: "The API key lacks the scope that this needs, or a page of another origin asks.",
    404: "An item of the request is not in the catalogue of the bundle in service, a user not in the online store, or "
    "a readmission does not wait.",
    408: "The request did not come in time.",
    409: "What would be undone or done again has begun.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests at once. Try again.",
    501: "The bundle in service lacks the model for this answer. The error says what data it needs.",
    503: "No bundle is loaded yet, or a store cannot be read or written. Try again later.",
    504: "The answer took too long.",
}


def describe_api() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    requests = [(e.request, "validation") for e in ENDPOINTS if e.request is not None]
    answers = [
        (answer, "serialization") for e in ENDPOINTS for answer in (e.answer, e.other_answer) if answer is not None
    ]
    _, definitions = models_json_schema([*requests, *answers, (Problem, "serialization")], ref_template=_REF)  # type: ignore[list-item]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sommelier", "version": API_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "."}],
        "paths": _paths(),
        "components": {"schemas": definitions["$defs"], "securitySchemes": _KEYS},
    }


def _paths() -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method] = _operation(endpoint)
    for endpoint in ENDPOINTS:
        if endpoint.earlier is not None:
            paths[endpoint.earlier] = {endpoint.method: _deprecated(endpoint)}
    return paths


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    answers = {"200": _success(endpoint)}
    if endpoint.answer is EventsReceipt:
        answers["202"] = {"description": "Stored; the online store does not have them yet", **_content(EventsReceipt)}
    if endpoint.answer is ReadmissionAsked:
        answers = {"202": {**_success(endpoint), "description": "The next run that validates lets the rows in"}}
    if endpoint.answer is UserForgotten:
        answers = {"202": {**_success(endpoint), "description": "Forgotten; a flow removes what there is of the user"}}
    need = need_of(endpoint.method.upper(), endpoint.path)
    refused = () if need == "nothing" else (401, 403)
    for status in sorted({*endpoint.problems, *refused}):
        answers[str(status)] = {"description": _PROBLEMS[status], **_content(Problem)}
    ids = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in endpoint.ids
    ]
    asked = _query_parameters(endpoint.query) if endpoint.query else []
    parameters = {"parameters": [*ids, *asked]} if ids or asked else {}
    body = {"requestBody": {"required": True, **_content(endpoint.request)}} if endpoint.request else {}
    # An empty one: where the service listens on its own machine alone, no key is needed.
    security = {"security": [{}, *({name: [need]} for name in _KEYS)]} if refused else {}
    said = f" Needs a key of scope `{need}`, where keys are needed." if refused else ""
    return {
        **security,
        "summary": endpoint.summary,
        "description": f"{endpoint.description}{said}",
        "operationId": endpoint.operation,
        "tags": [_tag(endpoint)],
        **parameters,
        **body,
        "responses": answers,
    }


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    """What an address may be asked, each as text."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema["description"],
            "schema": {key: value for key, value in schema.items() if key not in ("description", "title")},
        }
        for name, schema in query.model_json_schema()["properties"].items()
    ]


def _tag(endpoint: Endpoint) -> str:
    if endpoint.is_change:
        return "changes"
    return "answers" if endpoint.request else "service"


def _deprecated(endpoint: Endpoint) -> dict[str, Any]:
    """The same operation on the path of earlier releases."""
    return {
        **_operation(endpoint),
        "summary": f"{endpoint.summary}: the path of earlier releases",
        "description": f"Use `{endpoint.path}`: the answer is the same, with the headers `Deprecation` and `Link`.",
        "operationId": f"{endpoint.name}_of_earlier_releases",
        "tags": ["deprecated"],
        "deprecated": True,
    }


def _success(endpoint: Endpoint) -> dict[str, Any]:
    described: dict[str, Any] = {"description": "Success"}
    if endpoint.answer is None:
        return described
    described |= _content(endpoint.answer)
    if endpoint.other_answer is not None:
        either = [_REF.format(model=model.__name__) for model in (endpoint.answer, endpoint.other_answer)]
        described["content"]["application/json"]["schema"] = {"anyOf": [{"$ref": one} for one in either]}
    if endpoint.streams:
        described["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return described


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}}
