"""The service's endpoints, and their OpenAPI description.

Made here from the request and answer models and not taken from BentoML: its own drops what it does not know
(constants, bounds of nested models) and names error answers that never come.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from monitoring.lineage import Lineage
from serving.api.changes import ItemPatch, ItemSaid, UserForgotten, UserPatch, UserSaid
from serving.api.events import EventsReceipt, EventsRequest
from serving.api.experiments import ExperimentsInfo
from serving.api.feedback import Feedback, FeedbackList, FeedbackRequest
from serving.api.lists import (
    Found,
    Latest,
    LatestRequest,
    Popular,
    PopularRequest,
    SearchRequest,
    Similar,
    SimilarRequest,
)
from serving.api.message import API_PREFIX
from serving.api.model import ModelInfo, ModelSummary
from serving.api.problem import Problem
from serving.api.recommend import Recommendations, RecommendationsList, RecommendRequest
from serving.api.records import ItemRecord, UserRecord
from serving.api.score import ScoreRequest, Scores
from serving.api.timeline import TimelineInfo
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
    404: "An item of the request is not in the catalogue of the bundle in service, or a user not in the online store.",
    408: "The request did not come in time.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests at once. Try again.",
    501: "The bundle in service lacks the model for this answer. The error says what data it needs.",
    503: "No bundle is loaded yet, or a store cannot be read or written. Try again later.",
    504: "The answer took too long.",
}


@dataclass(frozen=True)
class Endpoint:
    """One path of the service."""

    path: str
    method: Literal["get", "post", "patch", "delete"]
    summary: str
    description: str
    problems: tuple[int, ...] = ()
    request: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    # What else a success may be: another model, and a stream of server-sent events.
    other_answer: type[BaseModel] | None = None
    streams: bool = False
    # The path of earlier releases, which is answered too.
    earlier: str | None = None

    @property
    def name(self) -> str:
        """What it is called in the document: its path without the version and without ids."""
        return self.path.removeprefix(API_PREFIX).partition("{")[0].strip("/")

    @property
    def operation(self) -> str:
        """What the operation is called: as the endpoint, behind what it does where it changes something."""
        return self.name if self.method in ("get", "post") else f"{self.method}_{self.name}"

    @property
    def ids(self) -> list[str]:
        """The names of the ids in its path."""
        return [name for _, name, _, _ in Formatter().parse(self.path) if name]


_EVERY_POST = (400, 408, 413, 415, 429, 504)
ENDPOINTS = (
    Endpoint(
        f"{API_PREFIX}/recommend",
        "post",
        "Recommend items",
        "For a known user, for the history of a visitor, or for nobody in particular. An unknown user is not an error: "
        "the answer is then a cold start, marked `cold_start`. Items of a visitor's history that are not in the "
        "catalogue are skipped and listed. Items that the user has seen are left out; a user who has seen them all "
        "gets an empty list. Filters, pins, boosts, buries and exploration mean the same for every way of ranking, and "
        "the answer says what each did. With `users`, each of many users gets an answer of their own.",
        (*_EVERY_POST, 404, 501, 503),
        RecommendRequest,
        Recommendations,
        RecommendationsList,
        earlier="/recommend",
    ),
    Endpoint(
        f"{API_PREFIX}/similar",
        "post",
        "Similar items or users",
        "Items that the model finds most like an item; or, with `user_id` and `among`, which of given users are most "
        "like a user, by what the model expects of their histories.",
        (*_EVERY_POST, 404, 501, 503),
        SimilarRequest,
        Similar,
    ),
    Endpoint(
        f"{API_PREFIX}/search",
        "post",
        "Search items by text",
        "Rankings by words and by meaning are joined by reciprocal rank fusion, and where a user or a history is given "
        "with the model's ranking for them; each item says what each ranking adds.",
        (*_EVERY_POST, 404, 501, 503),
        SearchRequest,
        Found,
    ),
    Endpoint(
        f"{API_PREFIX}/popular",
        "post",
        "Popular items",
        "The items with the most events as of now, of all time or of the last days; also of each category. What a "
        "given user or visitor has seen is left out.",
        (*_EVERY_POST, 404, 501, 503),
        PopularRequest,
        Popular,
    ),
    Endpoint(
        f"{API_PREFIX}/latest",
        "post",
        "New items",
        "The newest items of the catalogue, by its own date where it has one, else by an item's first event. What a "
        "given user or visitor has seen is left out.",
        (*_EVERY_POST, 404, 501, 503),
        LatestRequest,
        Latest,
    ),
    Endpoint(
        f"{API_PREFIX}/score",
        "post",
        "Score given items",
        "The probability that the user likes each item, and the rating that they would give it.",
        (*_EVERY_POST, 404, 501, 503),
        ScoreRequest,
        Scores,
        earlier="/score",
    ),
    Endpoint(
        f"{API_PREFIX}/feedback",
        "post",
        "Write feedback text",
        "The review that the user would write of an item, or why the item suits them; with `pairs`, many of them in "
        "one answer; with `stream`, sentence by sentence. Texts are written in threads of their own, and a few "
        "requests may wait for them: one more is answered 429, with `Retry-After`. A text that takes too long, or that "
        "nobody waits for any more, is not written on.",
        (*_EVERY_POST, 404, 501, 503),
        FeedbackRequest,
        Feedback,
        FeedbackList,
        streams=True,
        earlier="/feedback",
    ),
    Endpoint(
        f"{API_PREFIX}/events",
        "post",
        "Send events",
        "Each accepted event is on disk before the answer. 200: the next recommendation takes them into account. "
        "202: they are stored, and reach the online store shortly. Names of events may be the shop's own, and ratings "
        "on its own scale, if the recipe of the bundle in service maps them. A request that has an event of a user who "
        "was forgotten is refused as a whole, and the error names the event: nothing of them may be kept.",
        (*_EVERY_POST, 503),
        EventsRequest,
        EventsReceipt,
        earlier="/events",
    ),
    Endpoint(
        f"{API_PREFIX}/model",
        "get",
        "The bundle in service",
        "What it was trained on, how good it is, and since when it answers; without a key that may read, where one is "
        "needed, its name alone.",
        (),
        None,
        ModelInfo,
        ModelSummary,
        earlier="/model",
    ),
    Endpoint(
        f"{API_PREFIX}/experiments",
        "get",
        "Experiments on bundles",
        "Which run, on whom, what became of each, and their figures by variant: clicks, hit rate, latency and coverage "
        "with intervals, and a sequential test that may be looked at any time. Figures are computed beside the "
        "requests, and kept for a while.",
        (),
        None,
        ExperimentsInfo,
    ),
    Endpoint(
        f"{API_PREFIX}/timeline",
        "get",
        "What monitoring saw, and what followed",
        "Alarms, what was decided of them, the runs that were started, what the gate said, canaries, promotions, "
        "rollbacks and notifications. What lasts is one entry, which says how often it was seen and how it ended.",
        (),
        None,
        TimelineInfo,
    ),
    Endpoint(
        f"{API_PREFIX}/lineage/{{recommendation_id}}",
        "get",
        "Where an answer came from",
        "What was shown, the bundle that chose it with its data and settings, how that got into service, and what is "
        "not known any more. An answer is known for as long as the prediction log keeps it; that of somebody who was "
        "forgotten is not.",
        (404, 429, 503),
        None,
        Lineage,
    ),
    Endpoint(
        f"{API_PREFIX}/items/{{item_id}}",
        "get",
        "An item",
        "What the bundle's catalogue and the online store know of it.",
        (404, 429, 503),
        None,
        ItemRecord,
    ),
    Endpoint(
        f"{API_PREFIX}/users/{{user_id}}",
        "get",
        "A user",
        "What the online store knows of them: history, attributes, features. A user who was forgotten is unknown.",
        (404, 429, 503),
        None,
        UserRecord,
    ),
    Endpoint(
        f"{API_PREFIX}/items/{{item_id}}",
        "patch",
        "Change an item",
        "What is given is set above the shop's own data, what is left out stays, null takes a value back. Every list "
        "follows within seconds; what models read of an item, and items that are new, with the next training.",
        (400, 408, 413, 415, 429, 503),
        ItemPatch,
        ItemSaid,
    ),
    Endpoint(
        f"{API_PREFIX}/items/{{item_id}}",
        "delete",
        "Take an item out",
        "No list holds it from then on, and what was set of it is taken back. Its events are still learned from.",
        (400, 408, 413, 415, 429, 503),
        None,
        ItemSaid,
    ),
    Endpoint(
        f"{API_PREFIX}/users/{{user_id}}",
        "patch",
        "Change a user",
        "What is given is set above the shop's own data, what is left out stays, null takes a value back. It counts "
        "from the next refresh of the features on.",
        (400, 408, 413, 415, 429, 503),
        UserPatch,
        UserSaid,
    ),
    Endpoint(
        f"{API_PREFIX}/users/{{user_id}}",
        "delete",
        "Forget a user",
        "From the answer on nothing of the user is taken in, and answers are those for an unknown user. The next run "
        "of a flow removes what there is of them. The answer is the same whether anything is known of them or not.",
        (400, 408, 413, 415, 429, 503),
        None,
        UserForgotten,
    ),
    Endpoint("/livez", "get", "Liveness", "200 while the process runs."),
    Endpoint("/readyz", "get", "Readiness", "200 once a bundle is loaded.", (503,)),
    Endpoint("/metrics", "get", "Prometheus metrics", "Text in Prometheus's format."),
)
# From the path of an earlier release to the one that answers it.
SUCCESSORS = {endpoint.earlier: endpoint.path for endpoint in ENDPOINTS if endpoint.earlier is not None}


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
    parameters = {"parameters": ids} if ids else {}
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


def _tag(endpoint: Endpoint) -> str:
    if endpoint.method in ("patch", "delete"):
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
