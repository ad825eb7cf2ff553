"""What a look at whole tables finds at once: a number in another unit, a column that is empty now, or new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np

from core.schema import CATEGORY, CREATED_AT, ITEM_ID, PRICE, SIGNUP_AT, USER_ID, TableName
from core.sql import identifier, literal
from monitoring.calibration import WINDOWS, Moved
from monitoring.looks import NEW_COLUMN, Look
from monitoring.signals.activity import Span
from monitoring.signals.catalogue import changed_by_factor
from monitoring.signals.series import Series

_UNIT_FACTOR = 5.0  # prices that change so much, and all alike, did not change: their unit did
_UNIT_SHARE = 0.5  # of the items
_EMPTIED = 0.3  # of the users' values
_APPEARED = 0.01  # of the values of a new column: with fewer it is one that nobody fills yet
_TABLES: tuple[Literal["users", "items"], ...] = ("users", "items")
_CERTAIN = -1e4  # logarithm of a p-value; no chance has a part in it


def filled_shares(connection: duckdb.DuckDBPyConnection, clean: Path, table: TableName) -> dict[str, float]:
    """The share of users, or of items, that have a value, by column."""
    path = literal(str(clean / f"{table}.parquet"))
    names = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()]
    told = [str(name) for name in names if name not in (USER_ID, SIGNUP_AT, ITEM_ID, CREATED_AT)]
    if not told:
        return {}
    counts = ", ".join(f"count({identifier(name)}) / greatest(count(*), 1)" for name in told)
    (row,) = connection.execute(f"SELECT {counts} FROM read_parquet({path})").fetchall()
    return {name: float(share) for name, share in zip(told, row, strict=True)}


def structural_changes(
    connection: duckdb.DuckDBPyConnection,
    span: Span,
    looks: Sequence[Look],
    now: Look,
    item_columns: Sequence[str],
    learned_until: datetime | None,
) -> Iterator[Moved]:
    """What is certain by what earlier looks saw: what is broken, and columns that are new.

    Args:
        looks: Earlier ones, the oldest first.
        now: This one.
        item_columns: Of which `item_rows` has values.
        learned_until: The bundle in service knows nothing later: a column that it learned of is not new any more.
    """
    for days in WINDOWS:
        before = [look for look in looks if look.end <= span.starts(span.n_days - days)]
        if not before:
            return
        if PRICE in item_columns:
            since_us = int(before[-1].end.timestamp() * 1e6)
            factor, share = changed_by_factor(connection, PRICE, since_us)
            if share >= _UNIT_SHARE and not 1 / _UNIT_FACTOR < factor < _UNIT_FACTOR:
                yield _certain("data.items.price.unit", span, days, factor, 1.0)
        for name, was in before[-1].filled.items():
            full = now.filled.get(name, 0.0)
            if was - full >= _EMPTIED:
                yield _certain(f"data.users.{name}.null_share", span, days, 1 - full, 1 - was)
        for table in _TABLES:
            for name, share, seen_at in _new_columns([*looks, now], before[-1], table):
                if learned_until is None or learned_until < seen_at:
                    yield _certain(f"data.{table}.{name}{NEW_COLUMN}", span, days, share, 0.0)


def since_columns_began(series: Series, looks: Sequence[Look], now: Look, span: Span) -> Series:
    """A series of an item's column without the days on which there was no such column: it has no past then."""
    first = next((look for look in looks if look.filled_items is not None), now)
    for name, _, seen_at in _new_columns([*looks, now], first, "items"):
        own = f"data.items.{name}"
        if series.name.startswith((f"{own}.", f"{own}_path.") if name == CATEGORY else f"{own}."):
            # It is taken to have begun after the last look without it, as its values are.
            without = max(look.end for look in looks if look.end < seen_at)
            begins = min(max(-((span.starts(0) - without) // timedelta(days=1)), 0), span.n_days)
            fresh = None if series.fresh is None else series.fresh[begins:, begins:]
            squares = None if series.squares is None else series.squares[begins:]
            exposure, sums = series.exposure[begins:], series.sums[begins:]
            return replace(series, exposure=exposure, sums=sums, squares=squares, fresh=fresh, begins=begins)
    return series


def _new_columns(
    looks: Sequence[Look], before: Look, table: Literal["users", "items"]
) -> Iterator[tuple[str, float, datetime]]:
    """Columns that have values in the newest look and had none in an earlier one, nor in any before it: name, share of
    values that are filled, and when a look saw it first.
    """
    was, now = _filled(before, table), _filled(looks[-1], table)
    if was is None:
        return
    known = [_filled(look, table) or {} for look in looks if look.end <= before.end]
    for name, share in (now or {}).items():
        if share >= _APPEARED and not any(one.get(name) for one in known):
            later = (look for look in looks if look.end > before.end and (_filled(look, table) or {}).get(name))
            yield name, share, next(later).end


def _filled(look: Look, table: Literal["users", "items"]) -> dict[str, float] | None:
    return look.filled if table == "users" else look.filled_items


def _certain(name: str, span: Span, days: int, value: float, reference: float) -> Moved:
    exposure = np.zeros(span.n_days)
    series = Series(name, "data", "rate", exposure, exposure[:, None], consequence=-1)
    return Moved(series, days, value, reference, _CERTAIN, -_CERTAIN, 0.0)
