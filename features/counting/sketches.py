"""Merging one event into stored facts: the online store stays equal to what recounting all events would give.

Sums of integers, smallest and largest values, counts by group and the newest few by the events' own order can take
events in any order of arrival, late and tied ones too, and end with the same facts. What a bounded list has dropped
never comes back: it was dropped for newer ones, and those only get newer. An event that comes twice is recognised by
its number in the event log, which the stored row keeps (see `features.online`), not by its content.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from core import schema
from features.counting.streams import DAY_US, RATING_UNITS
from features.counting.views import KIND_COUNTS

Row = dict[str, Any]
# Timestamp, position and tie: what orders events.
Order = tuple[int, int, int]


@dataclass(frozen=True)
class Arrival:
    """An event as it comes in.

    Attributes:
        item_id: On what.
        kind: One of schema.EVENTS.
        counted: False for ignored kinds.
        value: The rating, None without one.
        us: When, microseconds since 1970.
        position: Its number in the event log.
        tie: `tie_of` its id.
    """

    item_id: str
    kind: str
    counted: bool
    value: float | None
    us: int
    position: int
    tie: int

    @property
    def order(self) -> Order:
        return self.us, self.position, self.tie


@dataclass(frozen=True)
class Attributes:
    """The catalogue's attributes of the event's item; none of an item that it does not have."""

    category: str | None = None
    brand: str | None = None
    price: int | None = None


def tie_of(event_id: str) -> int:
    """What orders events of one user, timestamp and position: 56 bits of the id's MD5."""
    return int(hashlib.md5(event_id.encode(), usedforsecurity=False).hexdigest()[:14], 16)


def in_rating_units(value: float) -> int:
    """As `columns.in_units` has it."""
    return round(value * RATING_UNITS)


def new_user() -> Row:
    """The facts of a user without events."""
    lists = (
        "history_items", "history_values", "history_events", "categories", "category_counts", "brands", "brand_counts",
        "active_days", "history_us", "history_positions", "history_ties", "rated_items", "rated_values", "rated_us",
        "rated_positions", "rated_ties", "history_kinds", "kind_items", "kind_events", "kind_us", "kind_positions",
        "kind_ties",
    )  # fmt: skip
    numbers = (
        "n_events", *KIND_COUNTS, "n_ratings", "rating_sum", "rating_square_sum", "first_event_us", "last_event_us",
        "n_active_days", "n_priced", "price_sum",
    )  # fmt: skip
    return {**{name: [] for name in lists}, **dict.fromkeys(numbers, 0)}


def new_item() -> Row:
    """The facts of an item that the catalogue does not have, without events."""
    numbers = (
        "n_events", *KIND_COUNTS, "n_ratings", "rating_sum", "rating_square_sum", "first_event_us", "last_event_us",
        "created_us",
    )  # fmt: skip
    return {
        **{f"item_{name}": 0 for name in numbers},
        "item_days": [],
        "item_day_counts": [],
        "item_price": -1,
        "item_category": None,
        "item_brand": None,
    }


def take_into_user(row: Row, event: Arrival, attributes: Attributes, max_history: int) -> None:
    """Take an event of the user into their facts, whenever it comes."""
    _count(row, event, "")
    if not event.counted:
        return
    _raise_count(row, "categories", "category_counts", attributes.category)
    _raise_count(row, "brands", "brand_counts", attributes.brand)
    if attributes.price is not None:
        row["n_priced"] += 1
        row["price_sum"] += attributes.price
    day = event.us // DAY_US
    if day not in row["active_days"]:
        row["active_days"] = sorted([*row["active_days"], day])
        row["n_active_days"] += 1
    history = {
        item: order
        for item, *order in zip(
            row["history_items"], row["history_us"], row["history_positions"], row["history_ties"], strict=True
        )
    }
    ratings = dict(zip(row["rated_items"], row["rated_values"], strict=True))
    rated = {
        item: order
        for item, *order in zip(
            row["rated_items"], row["rated_us"], row["rated_positions"], row["rated_ties"], strict=True
        )
    }
    kinds_before = _known_kinds(row)
    entries = _newest(history, event, max_history)
    if event.value is not None:
        if event.item_id not in rated or tuple(rated[event.item_id]) < event.order:
            ratings[event.item_id] = event.value
        rated = {item: list(order) for item, order in _newest(rated, event, max_history)}
    _put(row, "history", entries)
    _put(row, "rated", list(rated.items()))
    row["rated_values"] = [ratings[item] for item in rated]
    row["history_values"] = [ratings[item] if item in rated else float("nan") for item, _ in entries]
    _put_kinds(row, _kinds(kinds_before, event, entries, max_history))


def take_into_item(row: Row, event: Arrival, window_days: int) -> None:
    """Take an event on the item into its facts, whenever it comes."""
    _count(row, event, "item_")
    if not event.counted:
        return
    days = dict(zip(row["item_days"], row["item_day_counts"], strict=True))
    day = event.us // DAY_US
    days[day] = days.get(day, 0) + 1
    newest = row["item_last_event_us"] // DAY_US
    kept = sorted(day for day in days if day > newest - window_days)
    row["item_days"], row["item_day_counts"] = kept, [days[day] for day in kept]


def _count(row: Row, event: Arrival, prefix: str) -> None:
    row[prefix + KIND_COUNTS[schema.EVENTS.index(event.kind)]] += 1
    if not event.counted:
        return
    first, last = row[f"{prefix}first_event_us"], row[f"{prefix}last_event_us"]
    is_first = row[f"{prefix}n_events"] == 0
    row[f"{prefix}first_event_us"] = event.us if is_first else min(first, event.us)
    row[f"{prefix}last_event_us"] = event.us if is_first else max(last, event.us)
    row[f"{prefix}n_events"] += 1
    if event.value is not None:
        units = in_rating_units(event.value)
        row[f"{prefix}n_ratings"] += 1
        row[f"{prefix}rating_sum"] += units
        row[f"{prefix}rating_square_sum"] += units**2


def _raise_count(row: Row, names: str, counts: str, name: str | None) -> None:
    """One more of a group; groups stay most frequent first, equals by name."""
    if name is None:
        return
    found = dict(zip(row[names], row[counts], strict=True))
    found[name] = found.get(name, 0) + 1
    in_order = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    row[names], row[counts] = [name for name, _ in in_order], [count for _, count in in_order]


# Of an item, each kind with the order of the newest event of that kind.
Kinds = dict[str, Order]


def _known_kinds(row: Row) -> dict[str, Kinds]:
    """The kinds of the history's items, as the row keeps them."""
    orders = zip(row["history_us"], row["history_positions"], row["history_ties"], strict=True)
    entries = zip(row["history_items"], row["history_kinds"], orders, strict=True)
    known: dict[str, Kinds] = {item: {kind: order} for item, kind, order in entries}
    columns = (row[f"kind_{column}"] for column in ("items", "events", "us", "positions", "ties"))
    for item, kind, us, position, tie in zip(*columns, strict=True):
        known[item][kind] = us, position, tie
    return known


def _kinds(
    known: dict[str, Kinds], event: Arrival, entries: list[tuple[str, Order]], limit: int
) -> list[tuple[str, list[tuple[str, Order]]]]:
    """The kinds of the entries' events, `event` among them: of each item the latest event's first, then stronger ones.

    Those older than a full history's oldest entry are left out: its items were dropped, and their kinds with them. And
    so are those before a stronger one of the same item: they will not count while that one does, nor after it.
    """
    own = known.setdefault(event.item_id, {})
    own[event.kind] = max(own.get(event.kind, event.order), event.order)
    oldest = entries[0][1] if len(entries) == limit else None
    found = []
    for item, _ in entries:
        if len(known[item]) == 1:  # the latest event's alone: most are, and a push is quicker for it
            found.append((item, list(known[item].items())))
            continue
        kinds, newest = [], oldest
        for kind in sorted(known[item], key=schema.EVENTS.index, reverse=True):
            order = known[item][kind]
            if newest is None or order >= newest:
                kinds.append((kind, order))
                newest = order
        found.append((item, kinds[::-1]))
    return found


def _put_kinds(row: Row, kinds: list[tuple[str, list[tuple[str, Order]]]]) -> None:
    row["history_kinds"] = [own[0][0] for _, own in kinds]
    row["history_events"] = [own[-1][0] for _, own in kinds]
    earlier = [(item, kind, order) for item, own in kinds for kind, order in own[1:]]
    row["kind_events"] = [kind for _, kind, _ in earlier]
    _put(row, "kind", [(item, order) for item, _, order in earlier])


def _newest(entries: dict[str, Any], event: Arrival, limit: int) -> list[tuple[str, Order]]:
    """Entries by their latest event, oldest first, with `event` among them; the newest `limit`."""
    orders = {item: tuple(order) for item, order in entries.items()}
    orders[event.item_id] = max(orders.get(event.item_id, event.order), event.order)
    return sorted(orders.items(), key=lambda entry: entry[1])[-limit:]  # type: ignore[return-value]


def _put(row: Row, prefix: str, entries: list[tuple[str, Any]]) -> None:
    row[f"{prefix}_items"] = [item for item, _ in entries]
    for n, column in enumerate(("us", "positions", "ties")):
        row[f"{prefix}_{column}"] = [order[n] for _, order in entries]
