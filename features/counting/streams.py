"""Events in order, and counting along them: the arrays from which every feature is read at any point in time.

A stream holds all events of all entities of one kind, entity after entity, each in the order of its clocks. "As of a
moment" is then a slice: the entity's events from its first up to a place found by bisection. Sums over the slice are
differences of running sums, so a million moments cost a million look-ups and not a million recomputations. Everything
is counted in integers: no order of arrival can change a bit of a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from core import schema

Array = np.ndarray[Any, np.dtype[Any]]

# Ratings and prices are summed in these units: int64 then holds 37 million squared ratings of an entity.
RATING_UNITS = 100_000
PRICE_UNITS = 1_000
DAY_US = 86_400_000_000
# Events without a position come after those of their instant that have one.
LAST_POSITION = 1 << 62


@dataclass(frozen=True)
class Events:
    """All events of a shop, sorted by user, then by timestamp, position and tie. N events.

    Attributes:
        users: The user ids by code.
        items: The item ids by code.
        user: Codes. Shape (N,), int64.
        item: Codes. Shape (N,), int64.
        kind: Places in `schema.EVENTS`. Shape (N,), int64.
        counted: False for events of an ignored kind: they count for rates only. Shape (N,), bool.
        value: The rating, NaN without one. Shape (N,), float64.
        us: Timestamps, microseconds since 1970. Shape (N,), int64.
        position: What orders events of one timestamp. Shape (N,), int64.
        tie: What orders events of one position. Shape (N,), int64.
        clock: The timestamp plus the rank among the user's events of the same instant; where ranks would run into the
            next instant, that one is pushed on, so that a user's clocks always increase. Shape (N,), int64.
    """

    users: pa.Array
    items: pa.Array
    user: Array
    item: Array
    kind: Array
    counted: Array
    value: Array
    us: Array
    position: Array
    tie: Array
    clock: Array

    def __len__(self) -> int:
        return len(self.user)

    @property
    def rated(self) -> Array:
        """Which events are ratings of a kind that counts. Shape (N,), bool."""
        return self.counted & ~np.isnan(self.value)


def order_events(table: pa.Table, ignored: Sequence[str]) -> Events:
    """Sort events and give each its clock.

    Args:
        table: Columns user_id, item_id, event, value, timestamp (microseconds, UTC), position, tie; any order.
        ignored: Kinds that say nothing of the user's taste.
    """
    users, user = encode_ids(table.column(schema.USER_ID))
    items, item = encode_ids(table.column(schema.ITEM_ID))
    us = table.column(schema.TIMESTAMP).cast(pa.int64()).to_numpy().astype(np.int64)
    position = table.column(schema.POSITION).fill_null(LAST_POSITION).to_numpy().astype(np.int64)
    tie = table.column("tie").to_numpy().astype(np.int64)
    value = table.column(schema.VALUE).to_numpy(zero_copy_only=False).astype(np.float64)
    kinds = pa.compute.index_in(table.column(schema.EVENT), pa.array(schema.EVENTS))
    kind = kinds.fill_null(len(schema.EVENTS)).to_numpy().astype(np.int64)
    is_ignored = np.array([name in ignored for name in (*schema.EVENTS, "")], dtype=bool)
    order = np.lexsort((tie, position, us, user))
    user, us = user[order], us[order]
    return Events(
        users, items, user, item[order], kind[order], ~is_ignored[kind[order]], value[order], us, position[order],
        tie[order], _clocks(user, us),
    )  # fmt: skip


def encode_ids(ids: pa.ChunkedArray) -> tuple[pa.Array, Array]:
    """The distinct ids, and each id's place among them. Shape (N,), int64."""
    encoded = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if isinstance(encoded, pa.ChunkedArray):  # no chunk at all
        encoded = pa.array([], type=pa.string())
    encoded = encoded.dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def codes_of(ids: pa.Array | pa.ChunkedArray, known: pa.Array) -> Array:
    """Each id's place in `known`, -1 for one that is not there. Shape (N,), int64."""
    found = pa.compute.index_in(ids, known).fill_null(-1)
    codes: Array = found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy()
    return codes.astype(np.int64)


def starts_of(entity: Array, n_entities: int) -> Array:
    """Where each entity's events start in a stream sorted by entity. Shape (n_entities + 1,)."""
    return np.searchsorted(entity, np.arange(n_entities + 1))


def distinct(values: Array) -> Array:
    """The distinct values, ascending; numpy's own `unique` hashes, which takes five times as long."""
    ordered = np.sort(values)
    return ordered[np.append(True, np.diff(ordered) != 0)[: len(ordered)]]


def running_sum(values: Array) -> Array:
    """Sums before each place. Shape (N + 1,); the sum over a slice is a difference of two."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(values, dtype=np.int64)])


def running_max(entity: Array, values: Array) -> Array:
    """The largest value of the entity up to and including each place. Shape (N,)."""
    if not len(values):
        return values
    known = distinct(values)
    highest = np.maximum.accumulate(entity * len(known) + np.searchsorted(known, values))
    return known[highest - entity * len(known)]


def expand(start: Array, stop: Array) -> tuple[Array, Array]:
    """All places of many slices: (which slice, which place), slice after slice."""
    lengths = np.maximum(stop - start, 0)
    label = np.repeat(np.arange(len(start)), lengths)
    place = np.arange(len(label)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(start, lengths)
    return label, place


class Places:
    """Finds, for an entity and a moment, how far its events had come.

    Args:
        entity: Codes, sorted. Shape (N,).
        clock: Ascending within an entity. Shape (N,).
        n_entities: How many entities there are.
    """

    def __init__(self, entity: Array, clock: Array, n_entities: int) -> None:
        self._clocks = distinct(clock)
        self._factor = len(self._clocks) + 1
        # Entity and clock in one integer: a clock alone needs 51 bits, its rank among all clocks does not.
        self._keys = entity * self._factor + np.searchsorted(self._clocks, clock) + 1
        self._starts = starts_of(entity, n_entities)

    def until(self, entity: Array, moment: Array) -> tuple[Array, Array]:
        """Slices of the entities' events with a clock of at most `moment`; empty for the entity -1.

        Returns:
            Start and stop, shapes (B,).
        """
        rank = np.searchsorted(self._clocks, moment, side="right")
        known = entity >= 0
        start = np.where(known, self._starts[np.where(known, entity, 0)] if len(self._starts) else 0, 0)
        stop = np.searchsorted(self._keys, entity * self._factor + rank, side="right")
        return start, np.where(known, stop, 0)


class NewestEntries:
    """The newest distinct keys of an entity at any place, each at its latest event: histories.

    Args:
        entity: Codes, sorted. Shape (N,).
        key: What is kept once, codes. Shape (N,).
        n_keys: How many keys there are.
    """

    def __init__(self, entity: Array, key: Array, n_keys: int) -> None:
        pair = entity * max(n_keys, 1) + key
        self.by_pair = np.argsort(pair, kind="stable")
        self.same = pair[self.by_pair][1:] == pair[self.by_pair][:-1]
        # Where the entity's next event on the same key stands: an event is an entry until then.
        self._next = np.full(len(pair), len(pair) + 1, dtype=np.int64)
        self._next[self.by_pair[:-1][self.same]] = self.by_pair[1:][self.same]

    @property
    def is_first(self) -> Array:
        """Which events are the first of their entity on their key. Shape (N,), bool."""
        first = np.ones(len(self._next), dtype=bool)
        first[self.by_pair[1:][self.same]] = False
        return first

    def before(self, start: Array, stop: Array, limit: int) -> tuple[Array, Array]:
        """The newest `limit` entries of each slice, oldest first.

        Looks at a multiple of `limit` events from the end, and at more only where those repeat themselves, so the work
        per slice does not grow with the slice.

        Returns:
            Which slice, and the event's place; slice after slice.
        """
        labels: list[Array] = []
        places: list[Array] = []
        pending, width = np.arange(len(start)), 2 * limit
        while len(pending):
            low, high = np.maximum(start[pending], stop[pending] - width), stop[pending]
            label, place = expand(low, high)
            is_entry = self._next[place] >= high[label]
            label, place = label[is_entry], place[is_entry]
            count = np.bincount(label, minlength=len(pending))
            done = (count >= limit) | (low <= start[pending])
            from_the_end = np.cumsum(count)[label] - np.arange(len(label))
            wanted = done[label] & (from_the_end <= limit)
            labels.append(pending[label[wanted]])
            places.append(place[wanted])
            pending, width = pending[~done], 4 * width
        label, place = np.concatenate([*labels, pending]), np.concatenate([*places, pending])
        in_order = np.argsort(label, kind="stable")
        return label[in_order], place[in_order]


class GroupCounts:
    """How many events of each group an entity had at any place: categories, brands, days.

    Args:
        entity: Codes of the events that have a group. Shape (M,).
        group: Their groups, codes. Shape (M,).
        place: Their places in the entities' stream, ascending. Shape (M,).
        n_groups: How many groups there are.
    """

    def __init__(self, entity: Array, group: Array, place: Array, n_groups: int) -> None:
        self._n_groups = max(n_groups, 1)
        key = entity * self._n_groups + group
        by_pair = np.argsort(key, kind="stable")
        ordered = key[by_pair]
        self._first = np.flatnonzero(np.append(True, np.diff(ordered) != 0)[: len(ordered)])
        self._pairs = ordered[self._first]
        sizes = np.diff(np.append(self._first, len(key)))
        self._factor = int(place[-1]) + 2 if len(place) else 1
        self._keys = np.repeat(np.arange(len(self._pairs)), sizes) * self._factor + place[by_pair]

    def before(self, entity: Array, stop: Array, lowest: Array | None = None) -> tuple[Array, Array, Array]:
        """Groups with an event before `stop`, those from `lowest` on.

        Returns:
            Which of the B entities, the group, how many events; entity after entity, groups ascending.
        """
        low = np.zeros_like(entity) if lowest is None else np.clip(lowest, 0, self._n_groups)
        first = np.searchsorted(self._pairs, entity * self._n_groups + low)
        label, pair = expand(first, np.searchsorted(self._pairs, (entity + 1) * self._n_groups))
        until = np.minimum(stop[label], self._factor - 1)
        count = np.searchsorted(self._keys, pair * self._factor + until) - self._first[pair]
        found = count > 0
        return label[found], self._pairs[pair[found]] % self._n_groups, count[found]


def _clocks(user: Array, us: Array) -> Array:
    """See `Events.clock`: the running maximum of (timestamp - rank), plus the rank, per user."""
    rank = np.arange(len(user)) - np.searchsorted(user, user)
    return running_max(user, us - rank) + rank
