"""What a list was made by: the user as the online store had them, short enough to be kept with each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from features.counting.views import KIND_COUNTS
from recommender.inputs.user import UserState

KEPT_ITEMS = 10  # of the history, the newest
_KEPT_NAMES = 3
_KEPT_CHARS = 200
_NAME_CHARS = 100  # of an item, a category or a brand
# The others of a row are worked out of the same events; zeros are left out.
_COUNTS = ("n_events", *KIND_COUNTS, "n_ratings", "last_event_us", "log_sequence")


def features_as_read(user: UserState) -> dict[str, Any]:
    """The features of a user as a ranker read them, with no more than the newest of the history.

    Returns:
        `history`: the newest items, oldest first, with `events` (kinds) and `ratings` where there are any; `n_history`,
        `n_seen`: how many there are of them; `mean_rating`; `attributes`, at most 200 characters; `counts`: events of
        each kind, but for zeros, with the moment of the newest one (`last_event_us`) and its number in the event log
        (`log_sequence`); `categories` and `brands`: those with the most events. Of
        the names of items, categories and brands the first 100 characters.
    """
    found: dict[str, Any] = {
        "history": tuple(_cut(user.items[-KEPT_ITEMS:])),
        "n_history": len(user.items),
        "n_seen": len(user.items) if user.seen is None else len(user.seen),
        "mean_rating": user.mean_rating,
        "attributes": user.attributes[:_KEPT_CHARS],
    }
    if user.events:
        found["events"] = user.events[-KEPT_ITEMS:]
    ratings = user.values[-KEPT_ITEMS:]
    if any(value is not None for value in ratings):
        found["ratings"] = ratings
    counted = getattr(user.features, "row", None)  # of `features.online`: of other readers nothing is counted
    if isinstance(counted, Mapping):
        found["counts"] = {name: value for name in _COUNTS if (value := counted.get(name))}
        found["categories"] = _cut(counted["categories"][:_KEPT_NAMES])
        found["brands"] = _cut(counted["brands"][:_KEPT_NAMES])
    return found


def _cut(names: Sequence[str]) -> list[str]:
    return [name[:_NAME_CHARS] for name in names]
