"""Who a request is about: what is known of them, and why that is nothing at a cold start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from recommender.bundle.loading import Bundle
from recommender.inputs.user import UserState
from serving.api.message import DescribedUserRequest, UserRequest
from serving.online.reads import FeatureReader, Reads

UNREAD = "the online store cannot be read, and nothing was read of the user before"
_SPACE = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")  # but for what separates words


@dataclass(frozen=True)
class Visitor:
    """Who is asking.

    Attributes:
        user_id: None for a visitor without one.
        state: What is known of them.
        reason: Why this is a cold start; None where there is a history to use.
        skipped: Items of the request's history that the catalogue does not have.
        reads: Of the answer: what could not be read for it.
    """

    user_id: str | None
    state: UserState
    reason: str | None
    skipped: tuple[str, ...]
    reads: Reads

    @property
    def is_cold(self) -> bool:
        return self.reason is not None


def identify(
    request: UserRequest,
    features: FeatureReader,
    bundle: Bundle,
    session: Sequence[str] = (),
    at: datetime | None = None,
) -> Visitor:
    """Who is asking; where the bundle can use no history of theirs, say why.

    Args:
        features: The online store, or the reads of an answer that is being made.
        session: Items that follow the history, oldest first; unknown ones are skipped.
        at: The moment of the features; now by default.
    """
    reads = Reads.of(features)
    reason = "the user has no history"
    state: UserState | None = UserState()
    skipped: tuple[str, ...] = ()
    ids = bundle.catalogue.ids
    if request.user_id is not None:
        state = reads.read_user(request.user_id, at)
        if state is None:
            reason = "unknown user" if reads.error is None else UNREAD
    elif request.history:
        skipped = tuple(ids.unknown(dict.fromkeys(request.history)))
        state = UserState.from_history([item_id for item_id in request.history if item_id in ids])
        reason = "no item of the history is in the catalogue of this model"
    else:
        reason = "neither a user nor a history is given"
    state = state or UserState()
    if session:
        skipped = tuple(ids.unknown(dict.fromkeys((*skipped, *session))))
        state = state.followed_by([item_id for item_id in session if item_id in ids])
    if state.items_then is None and bundle.ranker.reads_items_then:
        state = replace(state, items_then=reads.items_at(at))
    if isinstance(request, DescribedUserRequest) and not state.attributes:
        state = replace(state, attributes=_one_line(request.about))
    if bundle.ranker.knows(state):
        return Visitor(request.user_id, state, None, skipped, reads)
    if not state.is_cold:
        reason = "no item of the user's history is in the catalogue of this model"
    return Visitor(request.user_id, state, reason, skipped, reads)


def _one_line(text: str) -> str:
    """A client's words as the shop's own attributes stand in texts that models read: they cannot begin a new line."""
    return _SPACE.sub(" ", _CONTROL.sub("", text)).strip()
