"""What is known of users as of any moment: facts, counted from events.

Facts change with events only. What changes with time alone (recency, age, windows) is derived from them at the moment
of asking, by `features.counting.derivation`, in training and in serving alike. Every fact is a sum of integers, a
smallest or largest value, or the newest few of something by the events' order: quantities that late, tied and
repeated events can be merged into, with the same result as recounting (`features.counting.sketches` does that
online).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from core import schema
from features.counting import streams
from features.counting.columns import Facts, ItemAttributes, Lists
from features.counting.event_stream import EventStream, Slices
from features.counting.streams import Array, Events, GroupCounts, NewestEntries
from features.counting.views import KIND_COUNTS

_KINDS = pa.array(schema.EVENTS)


class UserFacts(EventStream):
    """The facts of users. `as_of` computes those asked for, each by the method that `facts` names.

    Args:
        events: All events.
        attributes: Of `events.items`.
        max_history: Entries of a history, and of the newest rated items, at most.
    """

    def __init__(self, events: Events, attributes: ItemAttributes, max_history: int) -> None:
        super().__init__(events.user, events.clock, events.counted, events.kind, events.value, len(events.users))
        self._events, self._attributes, self._max_history = events, attributes, max_history

    def facts(self) -> dict[str, Callable[[Slices], Array | Lists]]:
        """Every fact by name; `features.feast.definitions` describes them."""
        kinds = {
            name: (lambda slices, kind=kind: self.n_of_kind(slices, kind)) for kind, name in enumerate(KIND_COUNTS)
        }
        return {
            "history_items": lambda s: self._listed(s, self._history(s), self._events.item, self._events.items),
            "history_values": self._history_values,
            "history_events": self._history_events,
            "n_events": self.n_events,
            **kinds,
            "n_ratings": self.n_ratings,
            "rating_sum": self.rating_sum,
            "rating_square_sum": self.rating_square_sum,
            "first_event_us": lambda s: s.within(self._n_counted).first(self._events.us[self.counted]),
            "last_event_us": lambda s: s.within(self._n_counted).last(self._events.us[self.counted]),
            "n_active_days": lambda s: s.within(self._n_counted).sum(self._first_of_day),
            "n_priced": lambda s: s.sum(self._price_sums[0]),
            "price_sum": lambda s: s.sum(self._price_sums[1]),
            "categories": lambda s: self._most_frequent(s, self._categories, self._attributes.categories)[0],
            "category_counts": lambda s: self._most_frequent(s, self._categories, self._attributes.categories)[1],
            "brands": lambda s: self._most_frequent(s, self._brands, self._attributes.brands)[0],
            "brand_counts": lambda s: self._most_frequent(s, self._brands, self._attributes.brands)[1],
            "active_days": self._active_days,
            "history_us": lambda s: self._listed(s, self._history(s), self._events.us),
            "history_positions": lambda s: self._listed(s, self._history(s), self._events.position),
            "history_ties": lambda s: self._listed(s, self._history(s), self._events.tie),
            "rated_items": lambda s: self._listed(s, self._newest_rated(s), self._events.item, self._events.items),
            "rated_values": lambda s: self._listed(s, self._newest_rated(s), self._events.value),
            "rated_us": lambda s: self._listed(s, self._newest_rated(s), self._events.us),
            "rated_positions": lambda s: self._listed(s, self._newest_rated(s), self._events.position),
            "rated_ties": lambda s: self._listed(s, self._newest_rated(s), self._events.tie),
            "history_kinds": lambda s: self._listed(s, self._history(s), self._events.kind, _KINDS),
            "kind_items": lambda s: self._listed(s, self._earlier_kinds(s), self._events.item, self._events.items),
            "kind_events": lambda s: self._listed(s, self._earlier_kinds(s), self._events.kind, _KINDS),
            "kind_us": lambda s: self._listed(s, self._earlier_kinds(s), self._events.us),
            "kind_positions": lambda s: self._listed(s, self._earlier_kinds(s), self._events.position),
            "kind_ties": lambda s: self._listed(s, self._earlier_kinds(s), self._events.tie),
        }

    def as_of(self, entity: Array, moment: Array, names: Sequence[str]) -> Facts:
        """The named facts of B users as of B moments.

        Args:
            entity: Codes of `events.users`, -1 for others. Shape (B,).
            moment: Events with a clock of at most this are known; microseconds. Shape (B,).
            names: Which facts.
        """
        slices, facts = self.slices(entity, moment), self.facts()
        self._memory: dict[str, Any] = {}  # lists that several facts of one call share
        found = {name: facts[name](slices) for name in names}
        self._memory = {}
        return found

    def _history(self, slices: Slices) -> tuple[Array, Array]:
        """(which slice, place in the stream) of the history's entries, oldest first."""
        if "history" not in self._memory:
            own = slices.within(self._n_counted)
            label, place = self._entries.before(own.start, own.stop, self._max_history)
            self._memory["history"] = label, self.counted[place]
        return self._memory["history"]

    def _newest_rated(self, slices: Slices) -> tuple[Array, Array]:
        if "rated" not in self._memory:
            own = slices.within(self._n_rated)
            label, place = self._rated_entries.before(own.start, own.stop, self._max_history)
            self._memory["rated"] = label, self._rated_places[place]
        return self._memory["rated"]

    @staticmethod
    def _listed(slices: Slices, entries: tuple[Array, Array], values: Array, names: pa.Array | None = None) -> Lists:
        label, place = entries
        return Lists.of(label, len(slices), values[place], names)

    def _history_values(self, slices: Slices) -> Lists:
        """The latest rating of each entry, NaN where it is not among the newest rated items, or there is none."""
        label, place = self._history(slices)
        rating = self._latest_rating[place]
        # Only those who rated more items than are kept can have lost one: for the others the newest are all.
        many = np.flatnonzero(slices.within(self._n_rated).sum(self._first_rated) > self._max_history)
        oldest = np.zeros(len(slices), dtype=np.int64)
        own = slices.within(self._n_rated)
        kept, rated_place = self._rated_entries.before(own.start[many], own.stop[many], self._max_history)
        oldest[many] = self._rated_places[rated_place[np.searchsorted(kept, np.arange(len(many)))]]
        known = (rating >= 0) & (rating >= oldest[label])
        values = np.full(len(label), np.nan)
        values[known] = self._events.value[rating[known]]
        return Lists.of(label, len(slices), values)

    def _history_events(self, slices: Slices) -> Lists:
        """The strongest kind of each entry."""
        label, place, entry = self._kinds(slices)
        strongest = np.append(np.diff(entry) != 0, True)[: len(entry)]
        return Lists.of(label[strongest], len(slices), self._events.kind[place[strongest]], _KINDS)

    def _earlier_kinds(self, slices: Slices) -> tuple[Array, Array]:
        """(which slice, place in the stream) of those of `_kinds` that are not the entry's own event."""
        label, place, entry = self._kinds(slices)
        earlier = np.append(False, np.diff(entry) == 0)[: len(entry)]
        return label[earlier], place[earlier]

    def _kinds(self, slices: Slices) -> tuple[Array, Array, Array]:
        """(which slice, place in the stream, which entry) of the newest event of each kind on each entry's item.

        Of an entry the weakest kind first, and only kinds without a later event of a stronger one; where the history
        is full, only events that are no older than its oldest entry.
        """
        if "kinds" not in self._memory:
            label, place = self._history(slices)
            n_entries = np.bincount(label, minlength=len(slices))
            full, oldest = n_entries == self._max_history, np.zeros(len(slices), dtype=np.int64)
            oldest[full] = place[(np.cumsum(n_entries) - n_entries)[full]]
            later = oldest[label]  # the newest event of a stronger kind, or the oldest that counts
            found = []
            for latest in reversed(self._latest_of_kind):
                at = place if latest is None else latest[place]
                counts = np.flatnonzero(at >= later)
                later = np.maximum(later, at)
                found.append((counts, at[counts]))
            entry, at = (np.concatenate(parts) for parts in zip(*reversed(found), strict=True))
            order = np.argsort(entry, kind="stable")
            self._memory["kinds"] = label[entry[order]], at[order], entry[order]
        return self._memory["kinds"]

    def _most_frequent(self, slices: Slices, groups: GroupCounts, names: pa.Array) -> tuple[Lists, Lists]:
        """Groups and their counts, most frequent first, equals by name."""
        key = f"groups {id(groups)}"
        if key not in self._memory:
            label, group, count = groups.before(slices.entity, slices.stop)
            # Groups ascend already, and a stable sort leaves equals so.
            most = int(count.max(initial=0)) + 1
            order = np.argsort(label * most + (most - 1 - count), kind="stable")
            self._memory[key] = (
                Lists.of(label, len(slices), group[order], names), Lists.of(label, len(slices), count[order]),
            )  # fmt: skip
        return self._memory[key]

    def _active_days(self, slices: Slices) -> Lists:
        label, day, _ = self._days[0].before(slices.entity, slices.stop)
        return Lists.of(label, len(slices), day + self._days[1])

    @cached_property
    def _entries(self) -> NewestEntries:
        return NewestEntries(self.entity[self.counted], self._events.item[self.counted], len(self._events.items))

    @cached_property
    def _rated_places(self) -> Array:
        return np.flatnonzero(self._events.rated)

    @cached_property
    def _rated_entries(self) -> NewestEntries:
        places = self._rated_places
        return NewestEntries(self.entity[places], self._events.item[places], len(self._events.items))

    @cached_property
    def _first_rated(self) -> Array:
        return streams.running_sum(self._rated_entries.is_first)

    @cached_property
    def _first_of_day(self) -> Array:
        day, user = self._events.us[self.counted] // streams.DAY_US, self.entity[self.counted]
        return streams.running_sum(np.append(True, (np.diff(day) != 0) | (np.diff(user) != 0))[: len(day)])

    @cached_property
    def _latest_rating(self) -> Array:
        return self._latest_on_item(self._events.rated)

    @cached_property
    def _latest_of_kind(self) -> list[Array | None]:
        """`_latest_on_item` of each kind that counts, the weakest first; None where it is the only one: every event's
        place.
        """
        counted, kind = self._events.counted, self._events.kind
        kinds = [k for k in range(len(schema.EVENTS)) if bool((counted & (kind == k)).any())]
        return [None] if len(kinds) < 2 else [self._latest_on_item(counted & (kind == k)) for k in kinds]

    def _latest_on_item(self, chosen: Array) -> Array:
        """The place of the user's latest chosen event on the event's item, up to the event; -1 without one.

        Args:
            chosen: Which events. Shape (N,), bool.
        Returns:
            Shape (N,), int64.
        """
        order, starts = self._by_item
        latest = np.maximum.accumulate(np.where(chosen[order], np.arange(len(order)), -1))
        found = np.full(len(order), -1, dtype=np.int64)
        known = latest >= starts
        found[order[known]] = order[latest[known]]
        return found

    @cached_property
    def _by_item(self) -> tuple[Array, Array]:
        """The places of the stream, a user's events on one item after the other, and where each item's start."""
        by_pair = NewestEntries(self.entity, self._events.item, len(self._events.items))
        n = len(self.entity)
        starts = np.maximum.accumulate(np.where(np.append(True, ~by_pair.same)[:n], np.arange(n), 0))
        return by_pair.by_pair, starts

    @cached_property
    def _price_sums(self) -> tuple[Array, Array]:
        price = np.where(self._events.counted, self._attributes.price[self._events.item], -1)
        return streams.running_sum(price >= 0), streams.running_sum(np.maximum(price, 0))

    @cached_property
    def _categories(self) -> GroupCounts:
        return self._groups(self._attributes.category[self._events.item], len(self._attributes.categories))

    @cached_property
    def _brands(self) -> GroupCounts:
        return self._groups(self._attributes.brand[self._events.item], len(self._attributes.brands))

    @cached_property
    def _days(self) -> tuple[GroupCounts, int]:
        return self.days(self._events.us)

    def _groups(self, group: Array, n_groups: int) -> GroupCounts:
        place = np.flatnonzero(self._events.counted & (group >= 0))
        return GroupCounts(self.entity[place], group[place], place, n_groups)
