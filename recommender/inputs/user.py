"""What a model knows of a user, and the one way to turn it into what the model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core import schema
from recommender.inputs.ids import IdMap
from recommender.inputs.item_moments import ItemsThen
from recommender.inputs.seen import SeenItems, item_keys

# The kind of an event that is known for nothing but its item.
VIEWED = "view"


@dataclass(frozen=True)
class UserState:
    """A user's features at one moment. From the offline store in training, from the online store in serving.

    Attributes:
        items: The history, oldest first: one entry per item, at the user's latest event on it.
        values: The latest rating of each entry, None where there is none; as long as `items`.
        mean_rating: Of all the user's ratings so far; None without any.
        n_ratings: How many those are.
        own_words: Words that come back in the user's reviews, most frequent first.
        attributes: Of the user, as the source has them, as text.
        seen: The items that do not come back, at any length; None where the history is all that is known, as of a bare
            one. What counts as seen is a setting: `core.settings.features.SeenSettings`.
        events: The strongest kind of event on each entry (`schema.EVENTS`); empty where kinds are not known.
        features: Everything that the feature store derives of the user, by name; empty for a bare history. Follows
            from the same events, so it takes no part in comparisons.
        items_then: The items at the same moment; None: what is known of them is as of the training cut-off.
    """

    items: tuple[str, ...] = ()
    values: tuple[float | None, ...] = ()
    mean_rating: float | None = None
    n_ratings: int = 0
    own_words: str = ""
    attributes: str = ""
    seen: SeenItems | None = None
    events: tuple[str, ...] = ()
    features: Mapping[str, Any] = field(default_factory=dict, compare=False)
    items_then: ItemsThen | None = field(default=None, compare=False, repr=False)

    @property
    def is_cold(self) -> bool:
        """No history: only popularity and attributes can answer."""
        return not self.items

    def seen_places(self, ids: IdMap) -> np.ndarray:
        """Where the items that do not come back stand in the catalogue, from 0: the one rule of what is masked.

        Returns:
            Shape (N,), int64.
        """
        if self.seen is None:
            return np.array(ids.known_indices(self.items), dtype=np.int64) - 1
        return ids.places_of(self.seen)

    def followed_by(self, items: Sequence[str]) -> UserState:
        """The same user after a session: its items are the newest entries of the history, and seen.

        An item that was in the history before keeps its rating and its kind of event; others have been viewed.

        Args:
            items: Oldest first; repeats keep their latest place.
        """
        last = tuple(reversed(dict.fromkeys(reversed(items))))
        if not last:
            return self
        values = dict(zip(self.items, self.values, strict=True))
        order = (*(item for item in self.items if item not in set(last)), *last)
        events: tuple[str, ...] = ()
        if self.events or not self.items:
            kinds = dict(zip(self.items, self.events, strict=True))
            events = tuple(kinds.get(item, VIEWED) for item in order)
        seen = self.seen
        if seen is not None:
            seen = SeenItems.of_keys(np.concatenate([seen.keys, item_keys(last)]))
        return replace(self, items=order, values=tuple(values.get(item) for item in order), events=events, seen=seen)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], **known: Any) -> UserState:
        """Read a row of the training set or of the online store, whose columns have the names of `schema`.

        Args:
            known: What the row does not have, or has no right to say.
        """
        items = _plain(row.get(schema.HISTORY_ITEMS))
        values = _plain(row.get(schema.HISTORY_VALUES)) or [None] * len(items)
        seen = row.get(schema.SEEN_KEYS)
        found: dict[str, Any] = {
            "items": tuple(items),
            "values": tuple([None if value is None or value != value else float(value) for value in values]),
            "mean_rating": _number(row.get(schema.MEAN_RATING)),
            "n_ratings": int(_number(row.get(schema.N_RATINGS)) or 0),
            "own_words": row.get(schema.OWN_WORDS) or "",
            "attributes": row.get(schema.ATTRIBUTES) or "",
            "seen": None if seen is None else SeenItems.of_keys(seen),
            "events": tuple(_plain(row.get(schema.HISTORY_EVENTS))),
        }
        return cls(**(found | known))

    @classmethod
    def from_history(cls, items: Sequence[str]) -> UserState:
        """A visitor with nothing but a history, oldest first; repeats keep their latest place."""
        return cls(items=tuple(reversed(dict.fromkeys(reversed(items)))), values=(None,) * len(set(items)))


def _plain(value: Any) -> list[Any]:
    return [] if value is None else list(value)


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
