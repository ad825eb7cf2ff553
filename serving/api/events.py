"""POST /v1/events: the request and its receipt."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock
from typing import Annotated, Any, Self
from uuid import uuid4

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints

from core.events import bad_time
from core.ids import time_ordered_id
from core.logs.events import Interaction
from core.timing.clock import CLOCK
from core.tombstones import IsForgotten, nobody
from serving.api.message import Id, Message
from serving.errors import BadRequest
from serving.events.terms import LEFT_OUT, PLAIN_TERMS, EventTerms

MAX_EVENT_NAME_CHARS = 200
MAX_EVENTS = 1000
MAX_POSITION = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SENT_IDS = Lock()  # requests of several threads may hold one event


def _in_time(moment: datetime) -> datetime:
    if moment < _EPOCH:
        raise ValueError("expected a time after 1970")
    broken = bad_time(moment, CLOCK.latest(), _EPOCH.date())
    if broken is not None:
        raise ValueError(f"expected {broken}")
    return moment


class Event(Message):
    """Something a user did."""

    event_id: Id | None = Field(
        None, description="A unique id; a repeated one is counted as a duplicate. Generated if missing."
    )
    user_id: Id
    item_id: Id = Field(description="May be an item that the bundle in service does not know yet.")
    event: Annotated[str, StringConstraints(min_length=1, max_length=MAX_EVENT_NAME_CHARS)] = Field(
        description="impression, view, click, cart, purchase or rating; or one of the shop's own names, as the setting "
        "recipe.source.values.interactions.event of the bundle in service maps them. Upper and lower case are the same."
    )
    value: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None,
        description="The rating; required for rating events, unless the bundle's recipe fills it in "
        "(recipe.validation.cleaning.missing). 1 to 5, or on the shop's scale if the bundle's recipe "
        "sets one (recipe.validation.cleaning.rating_scale); stored as 1 to 5. Other events need none: "
        "a value from 1 to 5 is accepted with them and not stored.",
    )
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_time)] | None = Field(
        None, description="ISO 8601 with a time zone, at most 5 minutes in the future. Now, if missing."
    )
    recommendation_id: Id | None = Field(
        None, description="Of the answer that showed the item, if one did: what experiments count clicks by."
    )
    position: Annotated[int, Field(ge=1, le=MAX_POSITION)] | None = Field(
        None, description="The item's place in that answer, 1 for the first."
    )

    @property
    def sent_id(self) -> str:
        """By what a client sends it: its own id, or one that is made once, so that what is sent again after an error,
        or in two requests at the same time, is the same event. A copy is another one.
        """
        if self.event_id is not None:
            return self.event_id
        made = time_ordered_id()
        with _SENT_IDS:
            kept: str = self.__dict__.setdefault("sent_id", made)
        return kept

    def forget_sent_id(self, received: str) -> None:
        """Have a new one made where it is sent once more.

        Args:
            received: What the service has. One that was made since, and is on its way, is kept.
        """
        with _SENT_IDS:
            if self.__dict__.get("sent_id") == received:
                del self.__dict__["sent_id"]

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.__dict__.pop("sent_id", None)
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        copied = super().__deepcopy__(memo)
        copied.__dict__.pop("sent_id", None)
        return copied

    def interaction(
        self, received_at: datetime, terms: EventTerms, where: str, is_forgotten: IsForgotten
    ) -> Interaction | None:
        """The event as the log keeps it, in the contract's terms, id and time filled in; None if it is left out."""
        kind = terms.kind(self.event, where)
        if is_forgotten(self.user_id):
            raise BadRequest(
                "Cannot take the events",
                got=f"{where}.user_id={self.user_id!r}",
                expected="a user who was not forgotten",
                do="Leave this user's events out",
            )
        if kind == LEFT_OUT:
            return None
        return Interaction(
            event_id=str(uuid4()) if self.event_id is None else terms.id(self.event_id, f"{where}.event_id"),
            user_id=terms.id(self.user_id, f"{where}.user_id"),
            item_id=terms.id(self.item_id, f"{where}.item_id"),
            event=kind,
            timestamp=terms.time(self.timestamp or received_at, max(received_at, CLOCK.latest()), where),
            value=terms.value(kind, self.value, where),
            recommendation_id=self.recommendation_id,
            shown_position=self.position,
        )


class EventsRequest(Message):
    """Events to store, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"events": [{"user_id": "u0001", "item_id": "i0007", "event": "purchase"}]}}
    )

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]

    def interactions(self, terms: EventTerms = PLAIN_TERMS, is_forgotten: IsForgotten = nobody) -> list[Interaction]:
        """The events as the log keeps them, without those that the shop's settings leave out.

        All events without a time get the same one.

        Args:
            terms: The shop's names of events and its scale of ratings; the contract's own by default.
            is_forgotten: Whether a user is.
        Raises:
            BadRequest: an event that the data gate would refuse by itself: its name is unknown, a rating has no value,
                a value or a time is out of range, an id is blank, or the user is forgotten.
        """
        received_at = CLOCK.now()
        read = (
            event.interaction(received_at, terms, f"events.{n}", is_forgotten) for n, event in enumerate(self.events)
        )
        return [event for event in read if event is not None]


class EventsReceipt(Message):
    """What happened to the events. Every accepted event is on disk."""

    accepted: int = Field(description="New events, now in the log.")
    duplicates: int = Field(description="Events whose event_id is in the log already.")
    left_out: int = Field(0, description="Events whose name the shop's settings map to nothing; not stored.")
    pushed: bool = Field(
        description="True if the next answer takes them into account. False (status 202) if they reach the online "
        "store shortly."
    )
    unknown_items: list[str] | None = Field(
        description="Items that the bundle in service does not know; their events are kept, and count once the "
        "features know the item. Null if no bundle is loaded."
    )
