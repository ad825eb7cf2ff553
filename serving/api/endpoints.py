"""The endpoints of the service: what each is asked and answers, and how it may fail. A new one goes here."""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import Literal

from pydantic import BaseModel

from monitoring.origin import Lineage
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
from serving.api.quarantine import QuarantineInfo, QuarantineQuery, Readmission, ReadmissionAsked, ReadmitRequest
from serving.api.recommend import Recommendations, RecommendationsList, RecommendRequest
from serving.api.records import ItemRecord, UserRecord
from serving.api.score import ScoreRequest, Scores
from serving.api.timeline import AuditInfo, AuditQuery, TimelineInfo, TimelineQuery
from serving.guard.access import need_of


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
    # What may stand behind the question mark of its address.
    query: type[BaseModel] | None = None
    # The path of earlier releases, which is answered too.
    earlier: str | None = None

    @property
    def name(self) -> str:
        """What it is called in the document: its path without the version and without ids."""
        return self.path.removeprefix(API_PREFIX).partition("{")[0].strip("/")

    @property
    def operation(self) -> str:
        """What the operation is called: as the endpoint, behind what it does where it changes something."""
        name = self.name.replace("/", "_")
        return name if self.method in ("get", "post") else f"{self.method}_{name}"

    @property
    def is_change(self) -> bool:
        """Whether it changes what the shop serves or learns from."""
        return self.method != "get" and need_of(self.method.upper(), self.path) == "admin"

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
        "Items that the model finds most like an item, with `user_id` without those that the user has seen; "
        "or, with `user_id` and `among`, which of given users are most like a user, by what the model expects of their "
        "histories.",
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
        (400,),
        None,
        TimelineInfo,
        query=TimelineQuery,
    ),
    Endpoint(
        f"{API_PREFIX}/quarantine",
        "get",
        "What the data gate put aside",
        "Rows of the newest validation by table and rule, with what the rule says. With a key of scope `admin` also "
        "examples, in pages, and what was asked to be let in.",
        (400, 503),
        None,
        QuarantineInfo,
        query=QuarantineQuery,
    ),
    Endpoint(
        f"{API_PREFIX}/quarantine/readmissions",
        "post",
        "Let rows in again",
        "As they are, where the rules or what the rows refer to was corrected. The answer says how many rows that are; "
        "the next run that validates lets them in, as `sommelier quarantine readmit` does. Who asks for the same rows "
        "again waits once; 409 while a run lets them in. To correct rows, use `sommelier quarantine export` and "
        "`readmit`.",
        (400, 408, 409, 413, 415, 429, 503),
        ReadmitRequest,
        ReadmissionAsked,
    ),
    Endpoint(
        f"{API_PREFIX}/quarantine/readmissions/{{readmission_id}}",
        "delete",
        "Do not let rows in after all",
        "What waits for a run is withdrawn, by its `id` in `waiting` of `/v1/quarantine`; the answer says what it was. "
        "409 once a run has begun to let the rows in: take them back by `sommelier quarantine revoke` then.",
        (404, 408, 409, 413, 415, 429, 503),
        None,
        Readmission,
    ),
    Endpoint(
        f"{API_PREFIX}/audit",
        "get",
        "Who changed what",
        "Promotions, keys, people forgotten, and each request that changes something and needs the scope `admin`: "
        "when, who, what, and how it ended; or who looked at what. No entry names a person.",
        (400, 503),
        None,
        AuditInfo,
        query=AuditQuery,
    ),
    Endpoint(
        f"{API_PREFIX}/lineage/{{recommendation_id}}",
        "get",
        "Where an answer came from",
        "What was shown, the bundle that chose it with its data and settings, how that got into service, and what is "
        "not known any more. An answer is known for as long as the prediction log keeps it; that of somebody who was "
        "forgotten is not. Where the log does not go back to when the id was given, `shown` is empty, and `served` has "
        "what answered then.",
        (404, 429, 503),
        None,
        Lineage,
    ),
    Endpoint(
        f"{API_PREFIX}/items/{{item_id}}",
        "get",
        "An item",
        "What the bundle's catalogue and the online store know of it, and what clients said of it since, at once.",
        (404, 429, 503),
        None,
        ItemRecord,
    ),
    Endpoint(
        f"{API_PREFIX}/users/{{user_id}}",
        "get",
        "A user",
        "What the online store knows of them: history, attributes, features; and what clients said of them since, "
        "at once. A user who was forgotten is unknown.",
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
