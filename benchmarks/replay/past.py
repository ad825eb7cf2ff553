"""The past of a shop: what was there when the replay begins, and what happened in each period after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core import schema
from core.storage import atomic_folder

SEED_OF_SAMPLES = 0
_IS_NEW = "is_new"
_EVENTS_AT_ONCE = 500


@dataclass(frozen=True)
class Happening:
    """An event as it happened.

    Attributes:
        asks: Whether its user is asked about before it: one who was drawn, and had nothing to do with its item before.
    """

    event_id: str
    user_id: str
    item_id: str
    event: str
    value: float | None
    timestamp: datetime
    asks: bool

    def body(self, recommendation_id: str | None) -> dict[str, Any]:
        """As `/v1/events` takes it."""
        return {
            "event_id": self.event_id,
            "user_id": self.user_id,
            "item_id": self.item_id,
            "event": self.event,
            "value": self.value,
            "timestamp": self.timestamp.isoformat(),
            "recommendation_id": recommendation_id,
        }


@dataclass(frozen=True)
class Period:
    """A part of the replay, with its events in the order of their time."""

    opens: datetime
    events: tuple[Happening, ...]

    def batches(self) -> Iterator[tuple[Happening, ...]]:
        """Events to be told at once. Nobody asks in one who did something in it before: what somebody has just done
        counts in what they are shown next."""
        batch: list[Happening] = []
        for event in self.events:
            if len(batch) >= _EVENTS_AT_ONCE or (event.asks and any(one.user_id == event.user_id for one in batch)):
                yield tuple(batch)
                batch = []
            batch.append(event)
        if batch:
            yield tuple(batch)


def write_base(clean: Path, target: Path, opens: datetime, n_users: int) -> Path:
    """Write the tables as they were when the replay begins, as a source of kind `tables`; all items are known.

    Args:
        clean: Clean tables of the whole past.
        opens: Aware.
        n_users: Keep only so many users, drawn at random; 0 keeps all.
    Raises:
        SystemExit: nothing had happened by then.
    """
    kept = _drawn(clean, n_users)
    with atomic_folder(target) as folder:
        for path in sorted(clean.glob("*.parquet")):
            table = pq.read_table(path)
            if schema.USER_ID in table.column_names and kept is not None:
                table = table.filter(pc.is_in(table[schema.USER_ID], value_set=kept))
            if schema.TIMESTAMP in table.column_names:
                table = table.filter(pc.less(table[schema.TIMESTAMP], _scalar(table, opens)))
            if len(table):
                pq.write_table(table, folder / path.name)
        if not (folder / "interactions.parquet").exists():
            raise SystemExit(f"nothing happened before {opens:%Y-%m-%d}: begin the replay later")
    return target


def read_periods(
    clean: Path, opens: datetime, n_periods: int, length: timedelta, n_users: int, n_asked: int = 0
) -> Iterator[Period]:
    """What happened in each period from `opens` on.

    Args:
        n_users: As for `write_base`: the same users are drawn.
        n_asked: So many users are asked about in a period, drawn at random among those who choose something new in it;
            0 asks about all.
    """
    table = pq.read_table(clean / "interactions.parquet")
    kept = _drawn(clean, n_users)
    if kept is not None:
        table = table.filter(pc.is_in(table[schema.USER_ID], value_set=kept))
    order = [(name, "ascending") for name in (schema.TIMESTAMP, "position", "event_id") if name in table.column_names]
    table = table.take(pc.sort_indices(table, sort_keys=order))
    pairs = [table[name].to_pylist() for name in (schema.USER_ID, schema.ITEM_ID)]
    first: dict[tuple[str, str], int] = {}
    for place, pair in enumerate(zip(*pairs, strict=True)):
        first.setdefault(pair, place)
    is_first = np.zeros(len(table), dtype=bool)
    is_first[list(first.values())] = True
    table = table.append_column(_IS_NEW, pa.array(is_first))
    for number in range(n_periods):
        begins, ends = (opens + length * (number + one) for one in (0, 1))
        times = table[schema.TIMESTAMP]
        within = pc.and_(pc.greater_equal(times, _scalar(table, begins)), pc.less(times, _scalar(table, ends)))
        rows = table.filter(within).to_pylist()
        asked = _asked(rows, n_asked, number)
        yield Period(begins, tuple(_happening(row, asked) for row in rows))


def _asked(rows: Sequence[dict[str, Any]], n_asked: int, number: int) -> set[str]:
    """Users who are asked about in a period."""
    users = sorted({row[schema.USER_ID] for row in rows if row[_IS_NEW]})
    if n_asked:
        places = np.random.default_rng([SEED_OF_SAMPLES, number]).permutation(len(users))[:n_asked]
        users = [users[place] for place in places]
    return set(users)


def _happening(row: dict[str, Any], asked: set[str]) -> Happening:
    moment: datetime = row[schema.TIMESTAMP]
    return Happening(
        event_id=row["event_id"],
        user_id=row[schema.USER_ID],
        item_id=row[schema.ITEM_ID],
        event=row["event"],
        value=row["value"],
        timestamp=moment if moment.tzinfo else moment.replace(tzinfo=UTC),
        asks=row[_IS_NEW] and row[schema.USER_ID] in asked,
    )


def _drawn(clean: Path, n_users: int) -> pa.Array | None:
    if not n_users:
        return None
    users = pc.unique(pq.read_table(clean / "interactions.parquet", columns=[schema.USER_ID])[schema.USER_ID]).sort()
    places = np.random.default_rng(SEED_OF_SAMPLES).permutation(len(users))[:n_users]
    return users.take(pa.array(np.sort(places)))


def _scalar(table: pa.Table, moment: datetime) -> pa.Scalar:
    kind = table[schema.TIMESTAMP].type
    return pa.scalar(moment if kind.tz else moment.replace(tzinfo=None), kind)
