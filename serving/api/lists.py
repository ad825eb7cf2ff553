"""POST /v1/popular, /v1/latest, /v1/similar and /v1/search: the requests and their answers."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from core.ids import time_ordered_id
from serving.api.message import (
    Degraded,
    DescribedUserRequest,
    Id,
    Ids,
    Message,
    RequestMessage,
    SkippedHistory,
    UnknownItems,
    UserRequest,
)
from serving.api.options import AppliedRule, ListOptions

MAX_QUERY_CHARS = 500
MAX_PER_CATEGORY = 50


class ListRequest(ListOptions, UserRequest):
    """A list that is the same for everybody, but for the items that the user has seen, where one is given."""


class PopularRequest(ListRequest):
    """What most events happen on."""

    model_config = ConfigDict(json_schema_extra={"example": {"days": 7, "k": 5, "per_category": 2}})

    days: int | None = Field(
        None,
        ge=1,
        description="Events of so many days, today among them: one of the windows in recipe.features.windows_days of "
        "the bundle's recipe. Of all time, if missing.",
    )
    per_category: int | None = Field(
        None,
        ge=1,
        le=MAX_PER_CATEGORY,
        description="Also so many items of each category, in `categories`. Filters hold for them; pins, boosts and "
        "buries are of `items` alone.",
    )


class LatestRequest(ListRequest):
    """The newest items: by the catalogue's own date (created_at), else by their first event."""

    model_config = ConfigDict(json_schema_extra={"example": {"k": 5, "max_price": 30}})


class SimilarRequest(ListOptions, RequestMessage):
    """Items that are like an item, or users who are like a user."""

    model_config = ConfigDict(json_schema_extra={"example": {"item_id": "i0007", "k": 5}})

    item_id: Id | None = Field(None, description="The item. An unknown one is answered 404.")
    user_id: Id | None = Field(
        None,
        description="With item_id: who the list is for; what they have seen is left out. With among, in place of an "
        "item: the user; an unknown one is answered 404.",
    )
    exclude_seen: bool = Field(True, description="Leave out what the user has seen; without a user_id nothing is seen.")
    among: Annotated[Ids, Field(min_length=1)] | None = Field(
        None,
        description="With user_id and no item_id: the users to compare, by what the model expects of their histories. "
        "The online store does not list its users, so the shop names them.",
    )

    @model_validator(mode="after")
    def _item_or_user(self) -> Self:
        if self.item_id is None and self.user_id is None:
            raise ValueError(
                "expected item_id or user_id: one of the two, or both for items that the user has not seen"
            )
        if self.item_id is not None and self.among is not None:
            raise ValueError("among is given with item_id, expected it with user_id alone")
        if (self.item_id is None) != (self.among is not None):
            raise ValueError("user_id and among go together where no item_id is given, expected both")
        if self.item_id is None:
            defaults = {
                name: field.get_default(call_default_factory=True) for name, field in ListOptions.model_fields.items()
            }
            given = [name for name, default in defaults.items() if name != "k" and getattr(self, name) != default]
            if given:
                raise ValueError(f"{given[0]} is given with user_id, expected it with item_id alone: users have none")
        return self


class SearchRequest(ListOptions, DescribedUserRequest):
    """Items that a text speaks of, those first that the user would like."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "dry red wine", "user_id": "u0001", "k": 5}})

    query: Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUERY_CHARS, strip_whitespace=True)] = Field(
        description="What to search for, in the shop's language."
    )
    exclude_seen: bool = Field(
        False, description="Leave out what the user has seen; a search finds that too, unless it is told not to."
    )
    personal: float = Field(
        0.5,
        ge=0,
        le=2,
        description="How much the model's ranking for the user counts, each of the two rankings by relevance counting "
        "1. Read where a user or a history is given.",
    )


class ListedItem(Message):
    """An item, with what a page needs to show it."""

    item_id: str
    label: str = Field(description="The item's title, or the beginning of its text if it has no title.")
    score: float = Field(description="What the list is in order of, but for pins, boosts and buries.")
    category: str | None = None
    brand: str | None = None
    price: float | None = None


class PopularItem(ListedItem):
    """A popular item; its score is the number of events."""


class LatestItem(ListedItem):
    """A new item; its score is less its age in days."""

    since: AwareDatetime = Field(description="When it entered the catalogue, or its first event.")


class FoundItem(ListedItem):
    """An item that a search found. Its score is the sum of the three shares: a weight / (60 + place) per ranking."""

    lexical: float = Field(description="By the words that it shares with the query (BM25); 0 without any.")
    semantic: float = Field(description="By the meaning of its text; 0 for what is not among the nearest.")
    personal: float = Field(description="By the model's ranking for the user; 0 without one.")


class SimilarUser(Message):
    """A user who was compared."""

    user_id: str
    score: float = Field(description="The cosine of what the model expects of the two users, -1 to 1.")


class CategoryList(Message):
    """The most popular items of a category."""

    category: str
    items: list[PopularItem]


class ItemList(Message):
    """A list of items, and how it was made."""

    recommendation_id: str = Field(
        default_factory=time_ordered_id,
        description="Of this answer; an event on one of its items may name it. Ids sort by time (UUID version 7).",
    )
    model: str = Field(description="The bundle that answered, as name:version.")
    applied: list[AppliedRule] = Field([], description="What each pin, boost and bury of the request did.")
    unknown_items: UnknownItems = Field([])
    degraded: Degraded = Field([])


class Popular(ItemList):
    """Popular items, those of most events first."""

    days: int | None = Field(description="Of how many days the events are; null of all time.")
    items: list[PopularItem]
    categories: list[CategoryList] = Field([], description="Per category, the one with the most popular item first.")
    skipped_history: SkippedHistory = Field([])


class Latest(ItemList):
    """New items, the newest first; items without a date and without an event are none of them."""

    items: list[LatestItem]
    skipped_history: SkippedHistory = Field([])


class Similar(ItemList):
    """Similar items or users, most similar first."""

    items: list[ListedItem] = Field(description="The score is the similarity by which reasons name items.")
    users: list[SimilarUser] = Field([], description="With user_id: those of `among`, most similar first.")
    unknown_users: list[str] = Field(
        [],
        description="Of `among`: users whom the online store does not know, or without an item of the catalogue; where "
        "the answer is degraded, also users who could not be read.",
    )


class SearchWeights(Message):
    """How much each ranking counted; 0 where it had no part."""

    lexical: float
    semantic: float
    personal: float


class Found(ItemList):
    """The items that were found, best first."""

    ranked_by: SearchWeights
    user_id: str | None
    cold_start: bool = Field(description="True if nothing is known of the user to rank by.")
    items: list[FoundItem]
    skipped_history: SkippedHistory = Field([])
