"""Small clean tables for the tests of `features`, and the same features computed again in the plainest way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import EVENTS, TABLES

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
SECOND = 1_000_000


@dataclass(frozen=True)
class Row:
    """One event of a test's log; `at` is in seconds after START."""

    user: str
    item: str
    at: float
    value: float | None = None
    event: str = "view"
    position: int | None = None
    event_id: str | None = None

    @property
    def timestamp(self) -> datetime:
        return START + timedelta(seconds=self.at)


def write_shop(
    folder: Path,
    events: Sequence[Row],
    *,
    users: Mapping[str, Mapping[str, str | None]] | None = None,
    items: Iterable[Mapping[str, Any]] | None = None,
    reviews: Iterable[tuple[str, str, float, str]] = (),
) -> Path:
    """Write the four clean tables. Users and items default to the events'; a review is (user, item, at, text)."""
    folder.mkdir(parents=True, exist_ok=True)
    users = users if users is not None else {event.user: {} for event in events}
    names = sorted({name for attributes in users.values() for name in attributes})
    items = items if items is not None else [{"item_id": item} for item in sorted({event.item for event in events})]
    items = list(items)
    own = sorted({column for item in items for column in item} - set(TABLES["items"].arrow().names))
    tables: dict[str, list[dict[str, Any]]] = {
        "users": [{"user_id": user, **attributes} for user, attributes in users.items()],
        "items": list(items),
        "interactions": [
            {
                "event_id": e.event_id or f"e{n}",
                "user_id": e.user,
                "item_id": e.item,
                "event": e.event,
                "value": e.value,
                "timestamp": e.timestamp,
                "position": e.position,
            }
            for n, e in enumerate(events)
        ],
        "feedback": [
            {"user_id": user, "item_id": item, "text": text, "timestamp": START + timedelta(seconds=at)}
            for user, item, at, text in reviews
        ],
    }
    for name, rows in tables.items():
        schema = TABLES[name].arrow()  # type: ignore[index]
        for extra in {"users": names, "items": own}.get(name, ()):
            schema = schema.append(pa.field(extra, pa.string()))
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    return folder


def clocks(events: Sequence[Row]) -> list[tuple[int, Row]]:
    """Every event that counts with its clock, the users one after the other; the others have clocks too."""
    found: list[tuple[int, Row]] = []
    for user in sorted({event.user for event in events}):
        own = [(n, e) for n, e in enumerate(events) if e.user == user]
        own.sort(key=lambda pair: (pair[1].at, pair[1].position is None, pair[1].position or 0, _tie(*pair)))
        last = -1
        for _, event in own:
            last = max(START_US + round(event.at * SECOND), last + 1)
            if event.event != "impression":
                found.append((last, event))
    return found


def _tie(n: int, event: Row) -> str:
    return hashlib.md5((event.event_id or f"e{n}").encode(), usedforsecurity=False).hexdigest()[:14]


def history_before(
    events: Sequence[Row], user: str, clock: int, max_history: int
) -> tuple[list[str], list[float | None]]:
    """Items and ratings of the user's history as of just before `clock`."""
    known = sorted(((at, e) for at, e in clocks(events) if e.user == user and at < clock), key=lambda pair: pair[0])
    latest = {event.item: at for at, event in known}
    rated = {event.item: (at, event.value) for at, event in known if event.value is not None}
    ratings = dict(sorted(rated.items(), key=lambda pair: pair[1][0])[-max_history:])
    items = sorted(latest, key=lambda item: latest[item])[-max_history:]
    return items, [ratings[item][1] if item in ratings else None for item in items]


def kinds_before(events: Sequence[Row], user: str, clock: int, max_history: int) -> list[str]:
    """The strongest kind on each item of the history as of just before `clock`."""
    known = sorted(((at, e) for at, e in clocks(events) if e.user == user and at < clock), key=lambda pair: pair[0])
    latest = {event.item: at for at, event in known}
    items = sorted(latest, key=lambda item: latest[item])[-max_history:]
    oldest = latest[items[0]] if len(items) == max_history else 0
    return [max((e.event for at, e in known if e.item == item and at >= oldest), key=EVENTS.index) for item in items]


def ratings_before(
    events: Sequence[Row], clock: int, *, user: str | None = None, item: str | None = None
) -> list[float]:
    """All ratings by a user or of an item before `clock`."""
    return [
        event.value
        for at, event in clocks(events)
        if at < clock and event.value is not None and user in (None, event.user) and item in (None, event.item)
    ]
