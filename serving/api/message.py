"""What all requests and answers share: strict types, ids with limits, and who is asking."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from core.logs.requests import current_request_id
from core.logs.traces import Trace, current_trace
from core.schema import MAX_ID_CHARS

# Before the path of every endpoint: the version of what is asked and answered.
API_PREFIX = "/v1"
MAX_IDS = 1000
MAX_ABOUT_CHARS = 2000

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS)]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]
# In answers: which items of a bare history could not be used.
SkippedHistory = Annotated[
    list[str], Field(description="Items of the given history that are not in the catalogue and were skipped.")
]

UnknownItems = Annotated[
    list[str], Field(description="Items of `allow`, and of boosts and buries, that are not in the catalogue.")
]

# What an answer had to do without. online_store: the user's features and history, and the items' of this moment.
# changes: what clients set of an item or a user.
Degradation = Literal["online_store", "changes"]
Degraded = Annotated[
    list[Degradation],
    Field(
        description="What could not be read for this answer. online_store: it is made by what this worker read last "
        "of the user, or, where that is nothing, as a cold start. changes, of records: what clients set, or of an item "
        "what they set since this worker read it last. Empty where all was there."
    ),
]


def no_items(description: str) -> Any:
    """A field of a request that is an empty list where it is not given: made anew, which takes a fraction of the time
    that pydantic takes to copy one, and every request has several. The schema says so as of any default.
    """
    return Field(default_factory=list, description=description, json_schema_extra={"default": []})


class Message(BaseModel):
    """A request or an answer: an unknown field is an error, no type is guessed from another, and numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RequestMessage(Message):
    """A message that came with an HTTP request, and knows which."""

    _request_id: str | None = PrivateAttr(default_factory=current_request_id)
    _trace: Trace | None = PrivateAttr(default_factory=current_trace)

    @property
    def request_id(self) -> str | None:
        """The id of the HTTP request; None outside of the service."""
        return self._request_id

    @property
    def trace(self) -> Trace | None:
        """Where to note how it is answered; None where nobody traces it."""
        return self._trace


class UserRequest(RequestMessage):
    """Who is asking: a known user, a visitor with a bare history, or nobody in particular."""

    user_id: Id | None = Field(
        None, description="The shop's id of the user. Their history is read from the online store."
    )
    history: Ids | None = Field(
        None,
        description="Item ids, oldest first, of a visitor without a user id. Cannot be combined with user_id. Items "
        "that are not in the catalogue are skipped and listed in the answer.",
    )

    @model_validator(mode="after")
    def _one_or_none(self) -> Self:
        if self.user_id is not None and self.history is not None:
            raise ValueError("user_id and history are both given, expected at most one of them")
        return self


class DescribedUserRequest(UserRequest):
    """The same, with a description of the user for where the online store has none."""

    about: str = Field(
        "",
        max_length=MAX_ABOUT_CHARS,
        description="What is known about the user, as text: the values of the users table ('34, F, cook'). Used only "
        "if the online store has no attributes of this user.",
    )
