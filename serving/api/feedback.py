"""POST /feedback: the request and its answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from recommender.inputs.texts import WritingTask
from serving.api.message import DescribedUserRequest, Id, Message, SkippedHistory

Stars = Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)]


class FeedbackRequest(DescribedUserRequest):
    """A text to write: the review that the user would write of an item, or why the item suits them."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "u0001", "item_id": "i0007", "kind": "review"}})

    item_id: Id
    kind: WritingTask = Field(
        "review", description="review: what the user would write. reason: why the item suits the user."
    )
    rating: Stars | None = Field(
        None, description="The rating that the text should express. Without it, the predicted rating."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, description="The same seed gives the same text. Drawn at random if missing."
    )


class Feedback(Message):
    """The text, and what it was generated from."""

    model: str
    user_id: str | None
    item_id: str
    kind: WritingTask
    text: str
    rating: float | None = Field(description="The rating that the text expresses.")
    rating_source: Literal["given", "predicted", "none"]
    seed: int
    skipped_history: SkippedHistory = Field([])
