"""POST /v1/feedback: the request and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from recommender.explaining.facts import FactKind, Grounded
from recommender.inputs.texts import Strategy, TextStyle, WritingTask
from serving.api.message import MAX_IDS, Degraded, DescribedUserRequest, Id, Message, SkippedHistory

Stars = Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)]
MAX_WORDS = 200


class FeedbackPair(Message):
    """One of several texts: who, and of what."""

    user_id: Id | None = Field(None, description="The shop's id of the user; without it, nobody in particular.")
    item_id: Id
    rating: Stars | None = Field(None, description="The rating that this text should express; else the predicted one.")


class FeedbackRequest(DescribedUserRequest):
    """A text to write: the review that the user would write of an item, or why the item suits them; or many of them."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "u0001", "item_id": "i0007", "kind": "review"}})

    item_id: Id | None = Field(None, description="The item, for one text.")
    pairs: Annotated[list[FeedbackPair], Field(min_length=1, max_length=MAX_IDS)] | None = Field(
        None,
        description="Users and items, for many texts; at most the service's setting serving.max_pairs. In place of "
        "item_id, and of user_id, history, about and rating beside it.",
    )
    kind: WritingTask = Field(
        "review", description="review: what the user would write. reason: why the item suits the user."
    )
    rating: Stars | None = Field(
        None, description="The rating that the text should express. Without it, the predicted rating."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, description="The same seed gives the same text. Drawn at random if missing."
    )
    style: TextStyle = Field(
        "medium", description="short: one sentence. medium: some sentences. long: as long as the writer goes on."
    )
    max_words: int | None = Field(
        None, ge=1, le=MAX_WORDS, description="The text ends with a sentence within so many words."
    )
    decoding: Strategy = Field(
        "nucleus",
        description="How a review's words are found. nucleus: drawn from the likeliest. greedy: the likeliest, always. "
        "beam: those of the likeliest of a few whole texts, which takes a few times as long, streams all at the end, "
        "and shows the rating less. Of greedy and beam any seed gives the same text.",
    )
    stream: bool = Field(
        False,
        description="Answer by server-sent events: `text` with each sentence as soon as nothing can change it any more "
        "({index, text}: `index` counts the pairs from 0, and the texts of an index, put together, are its text), "
        "`feedback` with the whole answer behind each text, and `error` where it cannot be finished.",
    )

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if self.pairs is None:
            if self.item_id is None:
                raise ValueError("neither item_id nor pairs is given, expected one of them")
            return self
        for name in ("item_id", "user_id", "history", "about", "rating"):
            if getattr(self, name):
                raise ValueError(f"pairs and {name} are both given, expected what each pair needs within it")
        return self

    def each(self) -> Iterator[FeedbackRequest]:
        """One request per text."""
        if self.pairs is None:
            yield self
        for pair in self.pairs or ():
            yield self.model_copy(update={**dict(pair), "pairs": None})


class GivenFact(Message):
    """A fact that a reason says, as of the model's data and the user's history now."""

    kind: FactKind = Field(
        description="aspect: reviewers praise it. words: the user's own words stand in its text. category, brand: as "
        "of items in the history. price: against what the user usually pays. together: chosen by the same customers. "
        "liked_together: and rated by them. similar: of the history the item most like it. rating, popularity: of all "
        "customers. attribute: its category. new: nothing happened with it yet."
    )
    value: str = Field(
        description="The aspect, word, category or brand; of a price, usual or less; empty for other kinds."
    )
    text: str = Field(description="The sentence that says it.")
    support: int = Field(description="How many reviewers, customers, ratings or items of the history it rests on.")
    numbers: dict[str, float] = Field(description="Its figures by name.")
    item_ids: list[str] = Field(description="Items of the history that it relates to, the nearest first.")
    opinions: list[str] = Field(description="The words of praise of an aspect, those of most reviewers first.")
    relevance: float = Field(description="How much it matters to the user: log-odds, 0 for the average statement.")


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
    facts: list[GivenFact] = Field([], description="What a reason says; a review says nothing that is checked.")
    grounded: Grounded | None = Field(
        None,
        description="Of a reason: template, sentences made of its facts. null for a review.",
    )
    skipped_history: SkippedHistory = Field([])
    degraded: Degraded = Field([])


class FeedbackList(Message):
    """Many texts, in the order of the pairs."""

    model: str
    items: list[Feedback]


class TextPiece(Message):
    """A sentence of a streamed text."""

    index: int
    text: str
