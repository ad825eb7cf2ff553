"""What a look at whole tables finds at once: a number in another unit, a column of the users that is empty now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np

from core.schema import PRICE, SIGNUP_AT, USER_ID
from core.sql import identifier, literal
from monitoring.calibration import WINDOWS, Moved
from monitoring.looks import Look
from monitoring.signals.activity import Span
from monitoring.signals.catalogue import changed_by_factor
from monitoring.signals.series import Series

_UNIT_FACTOR = 5.0  # prices that change so much, and all alike, did not change: their unit did
_UNIT_SHARE = 0.5  # of the items
_EMPTIED = 0.3  # of the users' values
_CERTAIN = -1e4  # logarithm of a p-value; no chance has a part in it


def filled_shares(connection: duckdb.DuckDBPyConnection, clean: Path) -> dict[str, float]:
    """The share of users that have a value, by column."""
    path = literal(str(clean / "users.parquet"))
    names = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()]
    told = [str(name) for name in names if name not in (USER_ID, SIGNUP_AT)]
    if not told:
        return {}
    counts = ", ".join(f"count({identifier(name)}) / greatest(count(*), 1)" for name in told)
    (row,) = connection.execute(f"SELECT {counts} FROM read_parquet({path})").fetchall()
    return {name: float(share) for name, share in zip(told, row, strict=True)}


def structural_changes(
    connection: duckdb.DuckDBPyConnection,
    span: Span,
    looks: Sequence[Look],
    filled: dict[str, float],
    item_columns: Sequence[str],
) -> Iterator[Moved]:
    """What is broken for certain, by what earlier looks saw."""
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
            now = filled.get(name, 0.0)
            if was - now >= _EMPTIED:
                yield _certain(f"data.users.{name}.null_share", span, days, 1 - now, 1 - was)


def _certain(name: str, span: Span, days: int, value: float, reference: float) -> Moved:
    exposure = np.zeros(span.n_days)
    series = Series(name, "data", "rate", exposure, exposure[:, None], consequence=-1)
    return Moved(series, days, value, reference, _CERTAIN, -_CERTAIN, 0.0)
