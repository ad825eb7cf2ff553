"""The events of entities as of any moment: slices of a stream, and the counts that users and items have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core import schema
from features.counting import streams
from features.counting.columns import in_units
from features.counting.streams import Array, GroupCounts, Places


@dataclass(frozen=True)
class Slices:
    """The events of B entities as of B moments.

    Attributes:
        entity: Codes, -1 where there are no events at all. Shape (B,).
        start: Shape (B,).
        stop: Shape (B,).
    """

    entity: Array
    start: Array
    stop: Array

    def __len__(self) -> int:
        return len(self.entity)

    def sum(self, running: Array) -> Array:
        """From sums before each place, those over the slices. Shape (B,)."""
        return running[self.stop] - running[self.start]

    def within(self, chosen: Array) -> Slices:
        """The same slices of the stream of the chosen events alone; `chosen` is running."""
        return Slices(self.entity, chosen[self.start], chosen[self.stop])

    def first(self, values: Array) -> Array:
        """The first value of each slice, 0 of an empty one. Shape (B,)."""
        return self._at(values, self.start)

    def last(self, values: Array) -> Array:
        """The last value of each slice, 0 of an empty one. Shape (B,)."""
        return self._at(values, self.stop - 1)

    def _at(self, values: Array, place: Array) -> Array:
        filled = self.stop > self.start
        found = np.zeros(len(self), dtype=np.int64)
        found[filled] = values[place[filled]]
        return found


class EventStream:
    """The events of users, or of items, and the facts that both have in common.

    Args:
        entity: Codes, sorted. Shape (N,).
        clock: Ascending within an entity. Shape (N,).
        counted: Which events count. Shape (N,), bool.
        kind: Places in `schema.EVENTS`. Shape (N,).
        value: The rating, NaN without one. Shape (N,).
        n: How many entities there are.
    """

    def __init__(self, entity: Array, clock: Array, counted: Array, kind: Array, value: Array, n: int) -> None:
        self.entity, self._kind = entity, kind
        self._places = Places(entity, clock, n)
        self.counted = np.flatnonzero(counted)
        self._n_counted = streams.running_sum(counted)
        is_rated = counted & ~np.isnan(value)
        self._n_rated = streams.running_sum(is_rated)
        self._ratings = in_units(np.where(is_rated, value, 0.0), streams.RATING_UNITS)

    def slices(self, entity: Array, moment: Array) -> Slices:
        """The events of each entity with a clock of at most the moment, microseconds; both of shape (B,)."""
        return Slices(entity, *self._places.until(entity, moment))

    def n_events(self, slices: Slices) -> Array:
        return slices.sum(self._n_counted)

    def n_ratings(self, slices: Slices) -> Array:
        return slices.sum(self._n_rated)

    def rating_sum(self, slices: Slices) -> Array:
        return slices.sum(self._rating_sums[0])

    def rating_square_sum(self, slices: Slices) -> Array:
        return slices.sum(self._rating_sums[1])

    def n_of_kind(self, slices: Slices, kind: int) -> Array:
        return slices.sum(self._kind_sums[kind])

    @cached_property
    def _rating_sums(self) -> tuple[Array, Array]:
        return streams.running_sum(self._ratings), streams.running_sum(self._ratings**2)

    @cached_property
    def _kind_sums(self) -> list[Array]:
        return [streams.running_sum(self._kind == kind) for kind in range(len(schema.EVENTS))]

    def days(self, us: Array) -> tuple[GroupCounts, int]:
        """Counts by day since the first one, and that one; `us` are the events' timestamps."""
        day = us[self.counted] // streams.DAY_US
        first = int(day.min()) if len(day) else 0
        n_days = int(day.max()) - first + 1 if len(day) else 1
        return GroupCounts(self.entity[self.counted], day - first, self.counted, n_days), first
