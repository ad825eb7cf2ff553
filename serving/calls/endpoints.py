"""The endpoints of the API, each a method that describes what is asked: both clients have them."""

from __future__ import annotations

from functools import partial
from typing import Literal

from core.schema import TableName
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
from serving.api.model import ModelInfo, ModelSummary
from serving.api.quarantine import QuarantineInfo, Readmission, ReadmissionAsked, ReadmitRequest
from serving.api.recommend import Recommendations, RecommendationsList, RecommendRequest
from serving.api.records import ItemRecord, UserRecord
from serving.api.score import ScoreRequest, Scores
from serving.api.timeline import AuditInfo, TimelineInfo
from serving.calls.call import Call, Described, asked, quoted
from serving.calls.requests import check_many, check_one, forget_ids, whole, with_ids


class Endpoints:
    """What can be asked: of `Client` a method gives the answer, of `AsyncClient` what is awaited for it."""

    @Described
    def recommend(self, request: RecommendRequest) -> Call[Recommendations]:
        """The best items for a user, a visitor's history, or nobody in particular."""
        check_one(request, "users", "recommend_each")
        return Call("POST", "/recommend", (Recommendations,), request, may_repeat=True)

    @Described
    def recommend_each(self, request: RecommendRequest) -> Call[RecommendationsList]:
        """The best items for each of `users`."""
        check_many(request, "users", "recommend")
        return Call("POST", "/recommend", (RecommendationsList,), request, may_repeat=True)

    @Described
    def similar(self, request: SimilarRequest) -> Call[Similar]:
        """Items like an item, or users like a user."""
        return Call("POST", "/similar", (Similar,), request, may_repeat=True)

    @Described
    def search(self, request: SearchRequest) -> Call[Found]:
        """Items that a text speaks of."""
        return Call("POST", "/search", (Found,), request, may_repeat=True)

    @Described
    def popular(self, request: PopularRequest) -> Call[Popular]:
        """The items with the most events."""
        return Call("POST", "/popular", (Popular,), request, may_repeat=True)

    @Described
    def latest(self, request: LatestRequest) -> Call[Latest]:
        """The newest items."""
        return Call("POST", "/latest", (Latest,), request, may_repeat=True)

    @Described
    def score(self, request: ScoreRequest) -> Call[Scores]:
        """How much a user would like each of some items."""
        return Call("POST", "/score", (Scores,), request, may_repeat=True)

    @Described
    def feedback(self, request: FeedbackRequest) -> Call[Feedback]:
        """A review, or why an item suits a user. `stream_feedback` gives the same sentence by sentence."""
        check_one(request, "pairs", "feedback_each")
        return Call("POST", "/feedback", (Feedback,), whole(request), may_repeat=True)

    @Described
    def feedback_each(self, request: FeedbackRequest) -> Call[FeedbackList]:
        """A text for each of `pairs`."""
        check_many(request, "pairs", "feedback")
        return Call("POST", "/feedback", (FeedbackList,), whole(request), may_repeat=True)

    @Described
    def events(self, request: EventsRequest) -> Call[EventsReceipt]:
        """Store events. Those without an id are given one first, the same until there is a receipt, so that the service
        knows an event that it has.
        """
        sent = with_ids(request)
        return Call(
            "POST",
            "/events",
            (EventsReceipt,),
            sent,
            may_repeat=True,
            may_repeat_late=True,
            done=partial(forget_ids, tuple(request.events), sent),
        )

    @Described
    def model(self) -> Call[ModelInfo | ModelSummary]:
        """The bundle in service; its name alone, where the service needs a key and has none that may read."""
        return Call("GET", "/model", (ModelInfo, ModelSummary), may_repeat=True)

    @Described
    def experiments(self) -> Call[ExperimentsInfo]:
        """What is tried on whom, and what it brought."""
        return Call("GET", "/experiments", (ExperimentsInfo,), may_repeat=True)

    @Described
    def timeline(self, *, before: int | None = None, limit: int | None = None) -> Call[TimelineInfo]:
        """What monitoring saw, and what came of it, oldest first: the newest entries, or those before one."""
        return Call("GET", "/timeline", (TimelineInfo,), may_repeat=True, query=asked(before=before, limit=limit))

    @Described
    def quarantine(
        self,
        *,
        table: TableName | None = None,
        rule: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Call[QuarantineInfo]:
        """What the data gate put aside, and, with a key of scope `admin`, some of these rows, or those after them."""
        query = asked(table=table, rule=rule, after=after, limit=limit)
        return Call("GET", "/quarantine", (QuarantineInfo,), may_repeat=True, query=query)

    @Described
    def readmit(self, request: ReadmitRequest) -> Call[ReadmissionAsked]:
        """Have the next run that validates let rows of quarantine in."""
        return Call("POST", "/quarantine/readmissions", (ReadmissionAsked,), request)

    @Described
    def withdraw_readmission(self, readmission_id: str) -> Call[Readmission]:
        """Do not let rows of quarantine in after all; what was withdrawn."""
        return Call("DELETE", f"/quarantine/readmissions/{quoted(readmission_id)}", (Readmission,))

    @Described
    def audit(
        self,
        *,
        before: str | None = None,
        limit: int | None = None,
        of: Literal["changes", "reads"] | None = None,
    ) -> Call[AuditInfo]:
        """Who changed what, or who looked at what, newest first: the newest acts, or those before one."""
        return Call("GET", "/audit", (AuditInfo,), may_repeat=True, query=asked(before=before, limit=limit, of=of))

    @Described
    def lineage(self, recommendation_id: str) -> Call[Lineage]:
        """Where an answer came from."""
        return Call("GET", f"/lineage/{quoted(recommendation_id)}", (Lineage,), may_repeat=True)

    @Described
    def item(self, item_id: str) -> Call[ItemRecord]:
        """What is known of an item, with what clients said of it since."""
        return Call("GET", f"/items/{quoted(item_id)}", (ItemRecord,), may_repeat=True)

    @Described
    def user(self, user_id: str) -> Call[UserRecord]:
        """What is known of a user, with what clients said of them since."""
        return Call("GET", f"/users/{quoted(user_id)}", (UserRecord,), may_repeat=True)

    @Described
    def change_item(self, item_id: str, patch: ItemPatch) -> Call[ItemSaid]:
        """Set what is given above the shop's own data; a field given as None is taken back."""
        return Call("PATCH", f"/items/{quoted(item_id)}", (ItemSaid,), patch)

    @Described
    def delete_item(self, item_id: str) -> Call[ItemSaid]:
        """Take an item out of every list."""
        return Call("DELETE", f"/items/{quoted(item_id)}", (ItemSaid,))

    @Described
    def change_user(self, user_id: str, patch: UserPatch) -> Call[UserSaid]:
        """Set what is given above the shop's own data; a field given as None is taken back."""
        return Call("PATCH", f"/users/{quoted(user_id)}", (UserSaid,), patch)

    @Described
    def forget_user(self, user_id: str) -> Call[UserForgotten]:
        """Forget a user."""
        return Call("DELETE", f"/users/{quoted(user_id)}", (UserForgotten,))
