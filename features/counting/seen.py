"""What each user has seen as of any moment: an item's key and the time of the user's newest event on it.

Complete at any length, of the kinds of events that the settings choose (`SeenSettings`), and kept apart from the
history, whose length the models bound. An item's newest time is a maximum, so arrivals merge into it in any order with
the same result as recounting.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from features.counting import streams
from features.counting.columns import Facts, Lists
from features.counting.event_stream import Slices
from features.counting.sketches import Arrival, Row
from features.counting.streams import DAY_US, Array, Events, NewestEntries, Places
from features.counting.views import EVENT_TIMESTAMP
from recommender.inputs.seen import SeenItems, item_key, item_keys


class SeenFacts:
    """The facts of the view `user_seen`.

    Args:
        events: All events.
        kinds: The kinds of events that make an item seen.
    """

    def __init__(self, events: Events, kinds: Sequence[str]) -> None:
        wanted = np.array([name in kinds for name in (*schema.EVENTS, "")], dtype=bool)
        chosen = wanted[events.kind]
        place = np.flatnonzero(chosen)
        self._user, self._item, self._us = events.user[place], events.item[place], events.us[place]
        self._n_chosen = streams.running_sum(chosen)
        self._places = Places(events.user, events.clock, len(events.users))
        self._items = events.items

    def as_of(self, entity: Array, moment: Array, names: Sequence[str]) -> Facts:
        """The named facts of B users as of B moments.

        Args:
            entity: Codes of `events.users`, -1 for others. Shape (B,).
            moment: Events with a clock of at most this are known; microseconds. Shape (B,).
            names: Which facts.
        """
        own = Slices(entity, *self._places.until(entity, moment)).within(self._n_chosen)
        found: Facts = {"seen_n_events": own.stop - own.start, "seen_last_us": own.last(self._us)}
        if "seen_keys" in names or "seen_us" in names:
            label, place = self._entries.before(own.start, own.stop, max(len(self._user), 1))
            keys = self._keys[self._item[place]]
            order = np.lexsort((keys, label))
            found["seen_keys"] = Lists.of(label, len(entity), keys[order])
            found["seen_us"] = Lists.of(label, len(entity), self._us[place][order])
        return {name: found[name] for name in names}

    @cached_property
    def _entries(self) -> NewestEntries:
        return NewestEntries(self._user, self._item, len(self._items))

    @cached_property
    def _keys(self) -> Array:
        return item_keys(self._items.to_pylist())


def new_seen() -> Row:
    """The facts of a user who has seen nothing."""
    return {"seen_n_events": 0, "seen_last_us": 0, "seen_keys": [], "seen_us": []}


def take_into_seen(row: Row, event: Arrival) -> None:
    """Take an event of a chosen kind into what its user has seen, whenever it comes."""
    row["seen_last_us"] = max(row["seen_last_us"], event.us) if row["seen_n_events"] else event.us
    row["seen_n_events"] += 1
    key, keys, us = item_key(event.item_id), row["seen_keys"], row["seen_us"]
    place = bisect_left(keys, key)
    if place < len(keys) and keys[place] == key:
        us[place] = max(us[place], event.us)
    else:
        keys.insert(place, key)
        us.insert(place, event.us)


def still_seen(us: Array, at_us: Array | int, within_days: float | None) -> Array:
    """Which newest events, at `us`, are recent enough at a moment for their items to count as seen: the one rule.

    Args:
        us: Microseconds since 1970. Shape (N,).
        at_us: The moment, or one per event.
        within_days: As the settings have it; None for ever.
    Returns:
        Shape (N,), bool.
    """
    if within_days is None:
        return np.ones(len(us), dtype=bool)
    late: Array = us >= at_us - round(within_days * DAY_US)
    return late


def seen_then(labels: pa.Table, features: Mapping[str, Any], within_days: float | None) -> Lists:
    """The keys of what each label's user had seen at its moment, ascending; as serving would mask them."""
    keys, us = features[schema.SEEN_KEYS], features["seen_us"]
    assert isinstance(keys, Lists)
    assert isinstance(us, Lists)
    at_us = labels.column(EVENT_TIMESTAMP).cast(schema.TIME).cast(pa.int64()).to_numpy().astype(np.int64)
    kept = still_seen(us.values, at_us[us.rows], within_days)
    return Lists.of(keys.rows[kept], len(labels), keys.values[kept])


def unseen(taken: pa.ListArray, seen: Lists) -> pa.ListArray:
    """Of each row's items those that its user had not seen, in their order."""
    flat, row = taken.flatten(), pc.list_parent_indices(taken).to_numpy().astype(np.int64)
    keys = item_keys(flat.to_pylist())
    # Row and key in one integer, by the place of the key among all those taken.
    known = streams.distinct(keys)
    place = np.searchsorted(known, seen.values)
    among = place < len(known)
    among[among] = known[place[among]] == seen.values[among]
    gone = seen.rows[among] * len(known) + place[among]
    kept = ~np.isin(row * len(known) + np.searchsorted(known, keys), gone)
    return Lists.of(row[kept], len(taken), np.flatnonzero(kept), flat).to_arrow()


def seen_at(keys: Array, us: Array, at_us: int, within_days: float | None) -> SeenItems:
    """What a user has seen at a moment, of a row of the view; `keys` ascend."""
    kept = keys if within_days is None else keys[still_seen(us, at_us, within_days)]
    return SeenItems(kept.tobytes())
