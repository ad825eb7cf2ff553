"""The requests and answers of the service: their names, types, limits and examples. What the API page shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from core.logs.events import Interaction
from core.schema import MAX_ID_CHARS
from recommender.inputs.texts import WritingTask
from serving.event_terms import LEFT_OUT, PLAIN_TERMS, EventTerms

MAX_IDS = 1000
MAX_EVENT_NAME_CHARS = 200
MAX_ABOUT_CHARS = 2000
MAX_EVENTS = 1000
CLOCK_SKEW = timedelta(minutes=5)
_SHOWN_CHARS = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS)]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]
AnsweringPart = Literal["sequence", "neighbours", "text", "popularity", "profile", "generative"]
Stars = Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)]


def _in_time(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + CLOCK_SKEW:
        raise ValueError("expected a time that is not more than 5 minutes in the future")
    if moment < _EPOCH:
        raise ValueError("expected a time after 1970")
    return moment


class Message(BaseModel):
    """A request or an answer: an unknown field is an error, and no type is guessed from another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AboutUser(Message):
    """Who is asking: a known user, a visitor with a bare history, or nobody at all."""

    user_id: Id | None = Field(None, description="The shop's id of a user; the history comes from the online store.")
    history: Ids | None = Field(
        None,
        description="Item ids, oldest first, of a visitor without an id. Not together with user_id. Those that the "
        "catalogue does not have are skipped, and the answer names them.",
    )

    @model_validator(mode="after")
    def _one_or_none(self) -> Self:
        if self.user_id is not None and self.history is not None:
            raise ValueError("user_id and history are both given, expected at most one of them")
        return self


class ToldOfUser(AboutUser):
    """The same, with what is told of the user."""

    about: str = Field(
        "",
        max_length=MAX_ABOUT_CHARS,
        description="What is known of the user, in words, as the shop's users table has it ('34, F, cook'). Read where "
        "the online store tells nothing.",
    )


# Of answers: which items of a bare history could not be read.
SkippedHistory = Annotated[
    list[str], Field(description="Items of the bare history that the catalogue does not have; the rest was read.")
]


class RecommendRequest(ToldOfUser):
    """Which items for whom."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "u0001", "k": 5}})

    k: int = Field(10, ge=1, description="How many items; the service's settings name the most (max_k).")
    exclude_seen: bool = Field(
        True,
        description="Leave out all that the user has seen, however much that is; which events make an item seen, and "
        "for how long, the bundle's recipe says (features.seen). Of a bare history, its items.",
    )
    exclude: Ids = Field([], description="Item ids to leave out: out of stock, already shown. Unknown ids do no harm.")
    categories: Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)] | None = Field(
        None, description="Only items of these categories, or below them ('Cheese' takes in 'Cheese > Hard')."
    )
    max_price: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Only items that cost at most this; none of unknown price."
    )
    by: Literal["blend", "generative"] = Field(
        "blend",
        description="Who ranks: the blend, or generative retrieval, which writes the items' semantic ids code by code.",
    )


class Recommendation(Message):
    """One item of the answer, with what a page needs to show it."""

    item_id: str
    label: str = Field(description="The title; where the shop gives none, the beginning of the item's text.")
    score: float = Field(description="Higher is better; comparable within one answer only.")
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    part: AnsweringPart = Field(
        description="The model that speaks for it most: the sequence, what goes together, the text of an item that is"
        " new, what is popular, or what is told of a user without a history; or, where asked for, generative retrieval."
    )
    because: list[str] = Field(
        description="Items of the history that are nearest to this one; none at a cold start, nor where popularity "
        "ranks."
    )
    matches: list[Literal["category", "brand"]] = Field(
        description="What it shares with one of those items of the history."
    )


class Recommendations(Message):
    """The best items first."""

    model: str = Field(description="The bundle that answered, name:version.")
    user_id: str | None
    cold_start: bool = Field(
        description="True where no history is known to go by: then the answer is what is popular, and what those take "
        "of whom the shop tells the like."
    )
    reason: str | None = Field(description="Why it is a cold start.")
    items: list[Recommendation]
    skipped_history: SkippedHistory = []


class ScoreRequest(AboutUser):
    """How much somebody would like certain items."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "u0001", "item_ids": ["i0007", "i0042"]}})

    item_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)] = Field(description="The items to judge.")


class Score(Message):
    """One judged item."""

    item_id: str
    p_like: float = Field(description="Probability that the user likes it, 0 to 1.")
    rating: float = Field(description="The rating that the user would give, 1 to 5.")


class Scores(Message):
    """In the order of the request."""

    model: str
    user_id: str | None
    cold_start: bool = Field(description="True where no history is known: then the item's own averages decide.")
    reason: str | None
    items: list[Score]
    skipped_history: SkippedHistory = []


class FeedbackRequest(ToldOfUser):
    """A text to write: the review this user would give, or why the item suits them."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "u0001", "item_id": "i0007", "kind": "review"}})

    item_id: Id
    kind: WritingTask = Field("review", description="review: what the user would write. reason: why the item suits.")
    rating: Stars | None = Field(None, description="Stars to write for; without it, the rating that is predicted.")
    seed: int | None = Field(None, ge=0, lt=2**31, description="Equal seeds give equal texts; drawn where not given.")


class Feedback(Message):
    """The text, and what it was written from."""

    model: str
    user_id: str | None
    item_id: str
    kind: WritingTask
    text: str
    rating: float | None = Field(description="The rating it was written for.")
    rating_source: Literal["given", "predicted", "none"]
    seed: int
    skipped_history: SkippedHistory = []


class Event(Message):
    """Something a user did."""

    event_id: Id | None = Field(None, description="Unique; a repeated one is counted as a duplicate. Made if missing.")
    user_id: Id
    item_id: Id = Field(description="May be an item that the bundle in service does not know yet.")
    event: Annotated[str, StringConstraints(min_length=1, max_length=MAX_EVENT_NAME_CHARS)] = Field(
        description="impression, view, click, cart, purchase or rating; or one of the shop's own names, as the setting "
        "source.values.interactions.event of the bundle in service maps them. Case aside."
    )
    value: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None,
        description="The rating, which an event of that kind must have: 1 to 5, or on the shop's scale where the "
        "bundle's recipe has one (validation.cleaning.rating_scale); it is kept as 1 to 5. Of other events, 1 to 5.",
    )
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_time)] | None = Field(
        None, description="ISO 8601 with a zone; now if missing; at most 5 minutes in the future."
    )

    def interaction(self, received_at: datetime, terms: EventTerms, where: str) -> Interaction | None:
        """The event as the log keeps it, in the contract's terms, id and time filled in; None if it is left out."""
        kind = terms.kind(self.event, where)
        if kind == LEFT_OUT:
            return None
        return Interaction(
            event_id=self.event_id or str(uuid4()),
            user_id=self.user_id,
            item_id=self.item_id,
            event=kind,
            timestamp=self.timestamp or received_at,
            value=terms.value(kind, self.value, where),
        )


class EventsRequest(Message):
    """Events to remember, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"events": [{"user_id": "u0001", "item_id": "i0007", "event": "purchase"}]}}
    )

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]

    def interactions(self, terms: EventTerms = PLAIN_TERMS) -> list[Interaction]:
        """The events as the log keeps them, without those that the shop's settings leave out.

        Those without a time get one and the same.

        Args:
            terms: The shop's names of events and its scale of ratings; the contract's own by default.
        Raises:
            BadRequest: an event's name is unknown, a rating has no value, or a value is out of range.
        """
        received_at = datetime.now(UTC)
        told = (event.interaction(received_at, terms, f"events.{n}") for n, event in enumerate(self.events))
        return [event for event in told if event is not None]


class EventsReceipt(Message):
    """What became of the events. Each accepted one is on the disk."""

    accepted: int = Field(description="New events, now in the log.")
    duplicates: int = Field(description="Events whose event_id the log already had.")
    left_out: int = Field(0, description="Events whose name the shop's settings map to nothing; not kept.")
    pushed: bool = Field(description="True when the next answer already knows them; else (202) they follow shortly.")
    unknown_items: list[str] | None = Field(
        description="Items that the bundle in service does not know (accepted all the same); null without a bundle."
    )


class ModelInfo(Message):
    """The bundle in service, and whether something is wrong with a newer one."""

    ready: bool
    model: str | None = Field(description="name:version in the model store; null until one is loaded.")
    loaded_at: str | None
    problem: str | None = Field(description="Why the newest promoted bundle is not the one in service.")
    capabilities: dict[str, bool] = Field(description="recommend, score, feedback: what this bundle can answer.")
    n_items: int | None
    manifest: dict[str, Any] | None = Field(
        description="The bundle's own account: recipe, data range, metrics, parent, code version, digest."
    )


class Problem(Message):
    """Every answer that is not a success."""

    model_config = ConfigDict(json_schema_extra={"example": {"error": "Cannot recommend: k=500, expected 1 to 100."}})

    error: str = Field(description="One sentence: what failed, the value, the rule.")


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
