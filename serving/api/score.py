"""POST /v1/score: the request and its answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from serving.api.message import MAX_IDS, Degraded, Id, Message, SkippedHistory, UserRequest


class ScoreRequest(UserRequest):
    """How much a user or visitor would like given items."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "u0001", "item_ids": ["i0007", "i0042"]}})

    item_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)] = Field(description="The items to score.")


class Score(Message):
    """One scored item."""

    item_id: str
    p_like: float = Field(description="Probability that the user likes the item, 0 to 1.")
    rating: float = Field(
        description="The rating that the user would give, 1 to 5: the expected value, with the least squared error."
    )
    median_rating: float = Field(
        description="The median of the ratings that the user may give: one of the shop's own ratings, with the least "
        "absolute error."
    )


class Scores(Message):
    """The scored items, in the order of the request."""

    model: str
    user_id: str | None
    cold_start: bool = Field(
        description="True if there is no history to use. The scores then rest on each item's own averages."
    )
    reason: str | None
    items: list[Score]
    skipped_history: SkippedHistory = Field([])
    degraded: Degraded = Field([])
