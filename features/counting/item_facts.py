"""What is known of items as of any moment: facts, counted from events as those of users are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from features.counting import streams
from features.counting.columns import Facts, Lists
from features.counting.event_stream import EventStream, Slices
from features.counting.streams import Array, Events, GroupCounts
from features.counting.views import KIND_COUNTS


class ItemFacts(EventStream):
    """The facts of items that come from events.

    Args:
        events: All events.
        window_days: The longest window of popularity; days older than it, counted from the newest event's, are
            forgotten.
    """

    def __init__(self, events: Events, window_days: int) -> None:
        by_item = np.lexsort((events.clock, events.item))
        self._us, self._window_days = events.us[by_item], window_days
        super().__init__(
            events.item[by_item], events.clock[by_item], events.counted[by_item], events.kind[by_item],
            events.value[by_item], len(events.items),
        )  # fmt: skip

    def facts(self) -> dict[str, Callable[[Slices], Array | Lists]]:
        """Every fact by name; `features.feast.definitions` describes them."""
        kinds = {
            f"item_{name}": (lambda slices, kind=kind: self.n_of_kind(slices, kind))
            for kind, name in enumerate(KIND_COUNTS)
        }
        return {
            "item_n_events": self.n_events,
            **kinds,
            "item_n_ratings": self.n_ratings,
            "item_rating_sum": self.rating_sum,
            "item_rating_square_sum": self.rating_square_sum,
            "item_first_event_us": lambda s: s.within(self._n_counted).last(self._earliest),
            "item_last_event_us": lambda s: s.within(self._n_counted).last(self._latest),
            "item_days": lambda s: self._recent_days(s)[0],
            "item_day_counts": lambda s: self._recent_days(s)[1],
        }

    def as_of(self, entity: Array, moment: Array, names: Sequence[str]) -> Facts:
        """As `UserFacts.as_of`, of items."""
        slices, facts = self.slices(entity, moment), self.facts()
        return {name: facts[name](slices) for name in names}

    def _recent_days(self, slices: Slices) -> tuple[Lists, Lists]:
        """Days (since 1970) with events and their counts, of the last window before the newest event; ascending."""
        counts, first_day = self._days
        newest = slices.within(self._n_counted).last(self._latest) // streams.DAY_US
        lowest = newest - self._window_days + 1 - first_day
        label, day, count = counts.before(slices.entity, slices.stop, lowest)
        return Lists.of(label, len(slices), day + first_day), Lists.of(label, len(slices), count)

    @cached_property
    def _latest(self) -> Array:
        return streams.running_max(self.entity[self.counted], self._us[self.counted])

    @cached_property
    def _earliest(self) -> Array:
        # Clocks of different users may order events unlike timestamps: by a microsecond, but results are exact.
        return -streams.running_max(self.entity[self.counted], -self._us[self.counted])

    @cached_property
    def _days(self) -> tuple[GroupCounts, int]:
        return self.days(self._us)
