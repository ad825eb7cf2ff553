"""GET /v1/items/{item_id} and GET /v1/users/{user_id}: what is known of one item or user."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from serving.api.changes import ItemSaid, UserSaid
from serving.api.message import Degraded, Message

ItemState = Literal["available", "unavailable", "deleted", "pending"]


class ItemRecord(Message):
    """An item, as the bundle's catalogue and the online store know it, with what clients set of it since."""

    model: str = Field(description="The bundle whose catalogue it is, as name:version.")
    item_id: str
    state: ItemState = Field(
        "available",
        description="available: lists may hold it. unavailable: clients said `available: false`. deleted: clients "
        "deleted it. pending: the bundle in service does not know it, and lists hold it after the next training. What "
        "clients said is followed by every worker within serving.poll_s.",
    )
    said: ItemSaid | None = Field(
        None,
        description="All that clients say of it; null where they never said anything, and to a key without the scope "
        "admin.",
    )
    changed_at: str | None = Field(
        None, description="When clients last said something of it, UTC; null where they never did."
    )
    withheld: list[str] = Field(
        [],
        description="Columns and attributes that clients set and that the record does not show: no data gate has "
        "masked texts that were set, and only a key of scope admin reads them here.",
    )
    label: str = Field(description="The item's title, or the beginning of its text if it has no title.")
    category: str | None
    brand: str | None
    price: float | None
    text: str = Field(description="What the text encoder reads of it; empty while it is pending.")
    attributes: dict[str, Any] = Field(
        description="Every column of the catalogue that filters may name, with counts as of the training cut-off, and "
        "what clients set above them."
    )
    now: dict[str, Any] = Field(description="The item's features in the online store now, null without a value.")
    degraded: Degraded = Field([])


class HistoryEntry(Message):
    """An item of a user's history."""

    item_id: str
    label: str | None = Field(description="null if the bundle's catalogue does not have the item.")
    event: str | None = Field(description="The user's strongest event on it; null where kinds are not known.")
    rating: float | None = Field(description="The latest, 1 to 5.")


class UserRecord(Message):
    """A user, as the online store knows them, with what clients set of them since."""

    model: str = Field(description="The bundle as whose recipe the store is read, as name:version.")
    user_id: str
    attributes: str = Field(description="As the shop's users table has them, as text.")
    history: list[HistoryEntry] = Field(description="Oldest first, the newest recipe.features.max_history items.")
    n_seen: int = Field(description="How many items do not come back in recommendations now.")
    own_words: str = Field(description="Words that come back in the user's reviews.")
    features: dict[str, Any] = Field(
        description="What the feature store derives of the user now; null without a value."
    )
    is_known: bool = Field(
        True, description="false: the online store does not know the user, and what clients said is all that there is."
    )
    said: UserSaid | None = Field(
        None,
        description="All that clients say of them, as it was said; null where they never said anything, and to a key "
        "without the scope admin.",
    )
    changed_at: str | None = Field(
        None, description="When clients last said something of them, UTC; null where they never did."
    )
    pending: list[str] = Field(
        [],
        description="Attributes that clients set and that `attributes` does not show as they were set: a refresh of "
        "the features takes them in. One that the data gate masks stays so. One that was taken back is not named, and "
        "stands in `attributes` until that refresh.",
    )
    degraded: Degraded = Field([])
