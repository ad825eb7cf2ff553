"""Every feature counted again in the plainest way: lists, loops and dictionaries, nothing shared with `features`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DAY = 86_400_000_000
IGNORED = ("impression",)
EVENTS = ("impression", "view", "click", "cart", "purchase", "rating")


@dataclass(frozen=True)
class LoggedEvent:
    """One event of a test's log."""

    event_id: str
    user: str
    item: str
    event: str
    us: int
    position: int | None
    tie: int
    value: float | None = None

    @property
    def counts(self) -> bool:
        return self.event not in IGNORED

    @property
    def order(self) -> tuple[int, bool, int, int]:
        return self.us, self.position is None, self.position or 0, self.tie


def clocks(log: Sequence[LoggedEvent]) -> dict[str, int]:
    """Event id to clock: later than all clocks of the user's earlier events, and not before the timestamp."""
    found: dict[str, int] = {}
    for user in {event.user for event in log}:
        last = -1
        for event in sorted((event for event in log if event.user == user), key=lambda event: event.order):
            last = found[event.event_id] = max(event.us, last + 1)
    return found


def known_at(log: Sequence[LoggedEvent], moment: int) -> list[LoggedEvent]:
    """The events with a clock of at most `moment`, in order."""
    clock = clocks(log)
    return sorted((event for event in log if clock[event.event_id] <= moment), key=lambda event: event.order)


def user_features(
    log: Sequence[LoggedEvent],
    user: str,
    moment: int,
    *,
    catalogue: Mapping[str, Mapping[str, Any]],
    max_history: int,
    n_affinities: int,
) -> dict[str, Any]:
    """All features of a user from the events known at the moment."""
    everything = [event for event in known_at(log, moment) if event.user == user]
    events = [event for event in everything if event.counts]
    rated = [event for event in events if event.value is not None]
    latest, latest_rated = {e.item: e for e in events}, {e.item: e for e in rated}
    history = sorted(latest.values(), key=lambda event: event.order)[-max_history:]
    ratings = {e.item: e.value for e in sorted(latest_rated.values(), key=lambda e: e.order)[-max_history:]}
    full = len(history) == max_history
    counting = [event for event in events if not full or event.order >= history[0].order]
    kinds = {
        item: max((e.event for e in counting if e.item == item), key=EVENTS.index)
        for item in (event.item for event in history)
    }
    prices = [catalogue[e.item]["price"] for e in events if catalogue.get(e.item, {}).get("price") is not None]
    days = {event.us // DAY for event in events}
    return {
        "history_items": [event.item for event in history],
        "history_values": [ratings.get(event.item) for event in history],
        "history_events": [kinds[event.item] for event in history],
        "n_events": len(events),
        **kind_counts(everything, ""),
        "n_ratings": len(rated),
        "n_active_days": len(days),
        "active_days": sorted(days),
        **rating_statistics(rated, ""),
        "recency_days": (moment - events[-1].us) / DAY if events else None,
        "tenure_days": (moment - events[0].us) / DAY if events else None,
        "events_per_active_day": len(events) / len(days) if events else None,
        **rates(everything, ""),
        "mean_price": sum(prices) / len(prices) if prices else None,
        **affinities(events, catalogue, "category", "top_categories", "category_shares", n_affinities),
        **affinities(events, catalogue, "brand", "top_brands", "brand_shares", n_affinities),
    }


def seen_items(
    log: Sequence[LoggedEvent], user: str, moment: int, *, kinds: Sequence[str], within_days: float | None
) -> set[str]:
    """The items of the user's events of these kinds, known at the moment and not older than so many days then."""
    return {
        event.item
        for event in known_at(log, moment)
        if event.user == user
        and event.event in kinds
        and (within_days is None or event.us >= moment - within_days * DAY)
    }


def item_features(
    log: Sequence[LoggedEvent],
    item: str,
    moment: int,
    *,
    catalogue: Mapping[str, Mapping[str, Any]],
    windows: Sequence[int],
) -> dict[str, Any]:
    """All features of an item from the events known at the moment."""
    everything = [event for event in known_at(log, moment) if event.item == item]
    events = [event for event in everything if event.counts]
    today = moment // DAY
    popularity = [sum(today - days < event.us // DAY <= today for event in events) for days in windows]
    began = catalogue.get(item, {}).get("created_us") or min((event.us for event in events), default=None)
    long_rate = popularity[-1] / windows[-1]
    return {
        "item_n_events": len(events),
        **kind_counts(everything, "item_"),
        "item_n_ratings": len([event for event in events if event.value is not None]),
        **rating_statistics([event for event in events if event.value is not None], "item_"),
        "item_age_days": None if began is None else (moment - began) / DAY,
        "item_recency_days": (moment - max(event.us for event in events)) / DAY if events else None,
        "item_price": catalogue.get(item, {}).get("price"),
        **rates(everything, "item_"),
        "item_popularity": popularity,
        "item_trend": popularity[-2] / windows[-2] / long_rate if long_rate else None,
    }


def kind_counts(events: Sequence[LoggedEvent], prefix: str) -> dict[str, int]:
    names = {"impression": "n_impressions", "view": "n_views", "click": "n_clicks", "cart": "n_carts"}
    names |= {"purchase": "n_purchases", "rating": "n_rating_events"}
    return {prefix + name: sum(event.event == kind for event in events) for kind, name in names.items()}


def rating_statistics(rated: Sequence[LoggedEvent], prefix: str) -> dict[str, float | None]:
    values = [event.value for event in rated if event.value is not None]
    if not values:
        return {f"{prefix}mean_rating": None, f"{prefix}rating_std": None}
    mean = math.fsum(values) / len(values)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return {f"{prefix}mean_rating": mean, f"{prefix}rating_std": std}


def rates(events: Sequence[LoggedEvent], prefix: str) -> dict[str, float | None]:
    n = Counter(event.event for event in events)
    return {
        f"{prefix}click_rate": n["click"] / n["impression"] if n["impression"] else None,
        f"{prefix}conversion_rate": n["purchase"] / n["click"] if n["click"] else None,
    }


def affinities(
    events: Sequence[LoggedEvent], catalogue: Mapping[str, Mapping[str, Any]], what: str, top: str, shares: str, n: int
) -> dict[str, list[Any]]:
    names = [catalogue[e.item][what] for e in events if catalogue.get(e.item, {}).get(what) is not None]
    ranked = sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0]))[:n]
    return {top: [name for name, _ in ranked], shares: [count / len(names) for _, count in ranked]}


def same(found: Any, expected: Any) -> bool:
    """Equal; floats to 1e-6, because ratings and prices are summed in whole units; NaN is None."""
    if isinstance(expected, list):
        found = list(found)
        return len(found) == len(expected) and all(same(*pair) for pair in zip(found, expected, strict=True))
    if expected is None:
        return found is None or found != found
    if isinstance(expected, float):
        # The root of a variance that is nearly none keeps half the digits.
        return found is not None and math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-6)
    return bool(found == expected)
