"""Who a request is about: what is known of them, and why that is nothing at a cold start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from recommender.bundle.loading import Bundle
from recommender.inputs.item_moments import ItemsThen
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from serving.api.message import DescribedUserRequest, UserRequest

_SPACE = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")  # but for what separates words


class FeatureReader(Protocol):
    """The online store, as far as answers need it."""

    def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        """The user's features at a moment, now by default; None for a user it does not know."""
        ...

    def read_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        """What the user saw in the days before a moment, now by default; nothing of a user it does not know."""
        ...

    def items_at(self, at: datetime | None = None) -> ItemsThen:
        """All items at a moment, now by default, as a ranker reads them."""
        ...

    def read_items(self, item_ids: Sequence[str]) -> Mapping[str, Any]:
        """The items' features now, by name, in the order given; an item it does not know has none."""
        ...


@dataclass(frozen=True)
class Visitor:
    """Who is asking.

    Attributes:
        user_id: None for a visitor without one.
        state: What is known of them.
        reason: Why this is a cold start; None where there is a history to use.
        skipped: Items of the request's history that the catalogue does not have.
    """

    user_id: str | None
    state: UserState
    reason: str | None
    skipped: tuple[str, ...] = ()

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
        session: Items that follow the history, oldest first; unknown ones are skipped.
        at: The moment of the features; now by default.
    """
    reason = "the user has no history"
    state: UserState | None = UserState()
    skipped: tuple[str, ...] = ()
    ids = bundle.catalogue.ids
    if request.user_id is not None:
        state = features.read_user(request.user_id, at)
        reason = "unknown user" if state is None else reason
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
        state = replace(state, items_then=features.items_at(at))
    if isinstance(request, DescribedUserRequest) and not state.attributes:
        state = replace(state, attributes=_one_line(request.about))
    if bundle.ranker.knows(state):
        return Visitor(request.user_id, state, None, skipped)
    if not state.is_cold:
        reason = "no item of the user's history is in the catalogue of this model"
    return Visitor(request.user_id, state, reason, skipped)


def _one_line(text: str) -> str:
    """A client's words as the shop's own attributes stand in texts that models read: they cannot begin a new line."""
    return _SPACE.sub(" ", _CONTROL.sub("", text)).strip()
