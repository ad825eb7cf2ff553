"""The two windows of events that a drift report compares, as frames: a row per event, columns of it and of its item.

Columns that grow with time by themselves (the time, the number of earlier events, an item's age) are left out: they
differ between any two windows and say nothing about drift. So are columns that no model reads, such as the hour of the
day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from core.schema import TABLES
from core.sql import identifier, literal

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 20_000  # of a window; a larger one is sampled
_MAX_ATTRIBUTES = 8
_ATTRIBUTE_VALUES = (2, 200)  # distinct values; an attribute with fewer is constant, with more it is an identifier
_TOP_VALUES = 30  # kept of a categorical column; the rest is "(other)", so that rare values cause no drift
_NUMBERS = ("rating", "price", "review_chars")
_WORDS = ("event", "category", "brand")


@dataclass(frozen=True)
class Windows:
    """Reference and current events with the same columns.

    Attributes:
        numbers, words: Names of the numerical and the categorical columns.
        considered: Every column that was a candidate.
        spans: First and last time of the reference, first and last time of the current window; None of an empty one.
        rows: Events in each window before sampling.
    """

    reference: pd.DataFrame
    current: pd.DataFrame
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    considered: tuple[str, ...]
    spans: tuple[datetime | None, datetime | None, datetime | None, datetime | None]
    rows: tuple[int, int]


def read_windows(clean: Path, cut_at: datetime, seed: int = 0) -> Windows:
    """Read the events before and from `cut_at`; a window may hold none.

    Only columns that have values in both windows, and more than one value in all, are kept; there may be none.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 2")
        attributes = _informative_attributes(connection, clean)
        connection.execute(f"CREATE TABLE events AS {_events_sql(clean, attributes)}", [cut_at])
        rows, spans = _extent(connection)
        connection.execute(f"CREATE TABLE sampled AS {_sample_sql(seed)}")
        considered = (*_WORDS, *_NUMBERS, *attributes)
        # Checked on the sample: a column that is rare in a window may be missing from its sample.
        names = _with_data(connection, [*_NUMBERS, *_WORDS, *attributes])
        numbers = tuple(name for name in names if name in _NUMBERS)
        words = tuple(name for name in names if name not in _NUMBERS)
        for name in words:
            _keep_top_values(connection, name)
        reference, current = (_frame(connection, [*numbers, *words], part) for part in ("false", "true"))
    return Windows(reference, current, numbers, words, considered, spans, rows)


def _events_sql(clean: Path, attributes: Sequence[str]) -> str:
    interactions, items, feedback = (
        literal(str(clean / f"{name}.parquet")) for name in ("interactions", "items", "feedback")
    )
    more = "".join(f", items.{identifier(name)}" for name in attributes)
    return f"""
    SELECT events.event_id, events.timestamp, events.timestamp >= ? AS is_current,
        events.event, events.value AS rating,
        split_part(items.category, ' > ', 1) AS category, items.brand, items.price,
        CAST(reviews.chars AS DOUBLE) AS review_chars {more}
    FROM read_parquet({interactions}) AS events
    LEFT JOIN read_parquet({items}) AS items USING (item_id)
    LEFT JOIN (
        SELECT user_id, item_id, timestamp, max(length(text)) AS chars FROM read_parquet({feedback})
        GROUP BY ALL
    ) AS reviews ON events.event = 'rating' AND reviews.user_id = events.user_id
        AND reviews.item_id = events.item_id AND reviews.timestamp = events.timestamp
    """


def _informative_attributes(connection: duckdb.DuckDBPyConnection, clean: Path) -> list[str]:
    """Item attributes with neither too few nor too many distinct values, at most `_MAX_ATTRIBUTES`."""
    path = str(clean / "items.parquet")
    names = [name for name, *_ in connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()]
    contract = set(TABLES["items"].arrow().names)
    reserved = {"event_id", "timestamp", "is_current", *_NUMBERS, *_WORDS}
    low, high = _ATTRIBUTE_VALUES
    informative = []
    for name in names:
        if name in contract or name.lower() in reserved:
            continue
        distinct = f"SELECT count(DISTINCT {identifier(name)}) FROM read_parquet(?)"
        ((count,),) = connection.execute(distinct, [path]).fetchall()
        if low <= int(count) <= high:
            informative.append(str(name))
    return informative[:_MAX_ATTRIBUTES]


def _extent(
    connection: duckdb.DuckDBPyConnection,
) -> tuple[tuple[int, int], tuple[datetime | None, datetime | None, datetime | None, datetime | None]]:
    """Rows and time spans of the windows."""
    (row,) = connection.execute(
        """
        SELECT count(*) FILTER (NOT is_current), count(*) FILTER (is_current),
            min(timestamp) FILTER (NOT is_current), max(timestamp) FILTER (NOT is_current),
            min(timestamp) FILTER (is_current), max(timestamp) FILTER (is_current)
        FROM events
        """
    ).fetchall()
    return (int(row[0]), int(row[1])), (row[2], row[3], row[4], row[5])


def _sample_sql(seed: int) -> str:
    """The rows of both windows; of a large one always the same, seemingly random ones."""
    order = f"md5(event_id || {literal(str(seed))})"
    return " UNION ALL ".join(
        f"(SELECT * FROM events WHERE is_current = {part} ORDER BY {order} LIMIT {MAX_ROWS})"
        for part in ("false", "true")
    )


def _with_data(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[str]:
    kept = []
    for name in names:
        own = identifier(name)
        ((distinct, current, reference),) = connection.execute(
            f"""
            SELECT count(DISTINCT {own}), count({own}) FILTER (is_current), count({own}) FILTER (NOT is_current)
            FROM sampled
            """
        ).fetchall()
        if distinct > 1 and current > 0 and reference > 0:
            kept.append(name)
    return kept


def _keep_top_values(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    own = identifier(name)
    connection.execute(
        f"""
        UPDATE sampled SET {own} = '(other)' WHERE {own} IS NOT NULL AND {own} NOT IN (
            SELECT {own} FROM sampled WHERE NOT is_current AND {own} IS NOT NULL
            GROUP BY ALL ORDER BY count(*) DESC, {own} LIMIT {_TOP_VALUES})
        """
    )


def _frame(connection: duckdb.DuckDBPyConnection, names: Sequence[str], is_current: str) -> pd.DataFrame:
    # The id is read and dropped again: a statement needs a column, and there may be no other.
    columns = ", ".join(["event_id", *map(identifier, names)])
    frame = connection.execute(f"SELECT {columns} FROM sampled WHERE is_current = {is_current} ORDER BY event_id").df()
    return frame.drop(columns="event_id")
