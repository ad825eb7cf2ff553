"""What one answer reads of the online store, and that it had to do without."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from features.errors import FeatureError, StoreUnreachable
from recommender.inputs.item_moments import ItemsThen
from recommender.inputs.seen import SeenItems
from recommender.inputs.user import UserState
from serving.api.message import Degradation

logger = logging.getLogger("serving")

Found = TypeVar("Found")


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


@runtime_checkable
class LastKnown(Protocol):
    """What was read last, of a reader that keeps it; a method as of `FeatureReader`."""

    @property
    def is_away(self) -> bool:
        """Whether the last read failed."""
        ...

    def last_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        """None for a user of whom nothing is kept."""
        ...

    def last_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        """Nothing of a user of whom nothing is kept."""
        ...

    def last_items_at(self, at: datetime | None = None) -> ItemsThen:
        """All items, by what was read last of them."""
        ...

    def last_items(self, item_ids: Sequence[str]) -> Mapping[str, Any]:
        """Some items, by what was read last of them."""
        ...


class Reads:
    """The reads of one answer: a `FeatureReader` that goes on with what is still known where the store cannot be read.

    One that keeps nothing has nothing to go on with: its errors are raised as they are.

    Args:
        features: The online store.

    Attributes:
        error: The first that the answer goes on without; None where all was read.
    """

    def __init__(self, features: FeatureReader) -> None:
        self._features = features
        # `isinstance` would look at each of its members, for every answer.
        self._last = cast(LastKnown, features) if hasattr(features, "last_user") else None
        self.error: FeatureError | None = None
        self._rests_on_kept = False

    @classmethod
    def of(cls, features: FeatureReader) -> Reads:
        """The reads of the answer that is being made, or of a new one."""
        return features if isinstance(features, cls) else cls(features)

    @property
    def degraded(self) -> list[Degradation]:
        """What the answer had to do without."""
        return [] if self.error is None and not self._rests_on_kept else ["online_store"]

    @property
    def is_away(self) -> bool:
        """Whether what was read last is all there is, as the store is away."""
        return self._last is not None and self._last.is_away

    def rest_on_kept(self) -> None:
        """Note that the answer takes what an earlier one read while the store was away."""
        self._rests_on_kept = True

    def read_user(self, user_id: str, at: datetime | None = None) -> UserState | None:
        """See `FeatureReader` and `LastKnown`."""
        return self._or_last(lambda: self._features.read_user(user_id, at), lambda last: last.last_user(user_id, at))

    def read_seen(self, user_id: str, within_days: float, at: datetime | None = None) -> SeenItems:
        """See `FeatureReader` and `LastKnown`."""
        return self._or_last(
            lambda: self._features.read_seen(user_id, within_days, at),
            lambda last: last.last_seen(user_id, within_days, at),
        )

    def items_at(self, at: datetime | None = None) -> ItemsThen:
        """See `FeatureReader` and `LastKnown`."""
        return self._or_last(lambda: self._features.items_at(at), lambda last: last.last_items_at(at))

    def read_items(self, item_ids: Sequence[str]) -> Mapping[str, Any]:
        """See `FeatureReader` and `LastKnown`."""
        return self._or_last(lambda: self._features.read_items(item_ids), lambda last: last.last_items(item_ids))

    def _or_last(self, read: Callable[[], Found], read_last: Callable[[LastKnown], Found]) -> Found:
        try:
            return read()
        except FeatureError as error:
            if self._last is None:
                raise
            if self.error is None:
                self.error = error
                if not isinstance(error, StoreUnreachable):  # that was logged when it began
                    logger.warning("An answer goes on without the online store: %s", error)
            return read_last(self._last)
