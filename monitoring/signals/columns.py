"""Signals of one column, whatever it holds: empty values, new values, shares of its values, level of its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np

from core.alarms import Family
from core.sql import literal
from monitoring.signals.series import OTHER, Series

MAX_KINDS = 30  # of a mix; the rest is one
MAX_VALUES = 2000  # of a column whose new values are watched; one with more is text, or an identifier
N_BINS = 10


@dataclass(frozen=True)
class Rows:
    """Where a column's values are: SQL of a relation with `day`, `w`, and the column as an expression.

    Attributes:
        name: Of the column, with its table: `items.category`.
        relation: Has `day` and `w`, a weight.
        value: SQL of the value.
        family: Of its signals.
    """

    name: str
    relation: str
    value: str
    family: Family = "data"

    def signal(self, what: str) -> str:
        """The dotted name of one of its signals."""
        return f"{self.family}.{self.name}.{what}"


def matrix(
    connection: duckdb.DuckDBPyConnection, query: str, n_days: int, n_columns: int, width: int = 1
) -> np.ndarray:
    """Cells by day and column: rows of (day, column, value...). Shape (n_days, n_columns) or (…, width)."""
    found = connection.execute(query).fetchnumpy()
    day, column, *values = (np.ma.filled(one, 0) for one in found.values())
    cells = np.zeros((n_days, n_columns, width))
    for place, value in enumerate(values):
        np.add.at(cells[:, :, place], (day.astype(int), column.astype(int)), value.astype(float))
    return cells[:, :, 0] if width == 1 else cells


def daily(connection: duckdb.DuckDBPyConnection, query: str, n_days: int, width: int = 1) -> np.ndarray:
    """Figures by day: rows of (day, value...). Shape (n_days, width)."""
    found = connection.execute(query).fetchnumpy()
    day, *values = (np.ma.filled(one, 0) for one in found.values())
    cells = np.zeros((n_days, width))
    for place, value in enumerate(values):
        cells[day.astype(int), place] = value.astype(float)
    return cells


def word_series(connection: duckdb.DuckDBPyConnection, rows: Rows, n_days: int) -> Iterator[Series]:
    """Of a column of words: its empty, its new and the mix of its values."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE day_values AS SELECT day, CAST({rows.value} AS VARCHAR) AS v, sum(w) AS w
        FROM {rows.relation} GROUP BY ALL"""
    )
    yield _empty(connection, rows, n_days)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE known AS SELECT v, min(day) AS first, sum(w) AS total,
            row_number() OVER (ORDER BY sum(w) DESC, v) - 1 AS place
        FROM day_values WHERE v IS NOT NULL GROUP BY v"""
    )
    ((n_values,),) = connection.execute("SELECT count(*) FROM known").fetchall()
    if not n_values or n_values > MAX_VALUES:
        return
    fresh = matrix(
        connection,
        "SELECT day, first, sum(w) FROM day_values JOIN known USING (v) GROUP BY ALL",
        n_days,
        n_days,
    )
    exposure = fresh.sum(axis=1)
    none = np.zeros((n_days, 1))
    name = rows.signal("new_values")
    yield Series(name, rows.family, "rate", exposure, none, fresh=fresh, is_share=True, least=20, consequence=0)
    if n_values > 1:
        yield _mix(connection, rows, n_days, int(n_values))


def _empty(connection: duckdb.DuckDBPyConnection, rows: Rows, n_days: int) -> Series:
    cells = daily(
        connection,
        "SELECT day, sum(w), coalesce(sum(w) FILTER (v IS NULL), 0) FROM day_values GROUP BY day",
        n_days,
        2,
    )
    name = rows.signal("null_share")
    return Series(name, rows.family, "rate", cells[:, 0], cells[:, 1:], is_share=True, least=20, consequence=0)


def _mix(connection: duckdb.DuckDBPyConnection, rows: Rows, n_days: int, n_values: int) -> Series:
    named = connection.execute(f"SELECT v FROM known WHERE place < {MAX_KINDS} ORDER BY place").fetchall()
    labels = [str(one) for (one,) in named] + ([OTHER] if n_values > MAX_KINDS else [])
    sums = matrix(
        connection,
        f"SELECT day, least(place, {MAX_KINDS}), sum(w) FROM day_values JOIN known USING (v) GROUP BY ALL",
        n_days,
        len(labels),
    )
    return Series(rows.signal("mix"), rows.family, "mix", sums.sum(axis=1), sums, labels=tuple(labels))


def number_series(
    connection: duckdb.DuckDBPyConnection, rows: Rows, n_days: int, *, is_log: bool = False
) -> Iterator[Series]:
    """Of a column of numbers: its empty values, its level, and how its values spread over tenths of them.

    Args:
        is_log: Whether numbers above 0 are compared by their logarithms.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE day_values AS SELECT day, CAST({rows.value} AS DOUBLE) AS v, sum(w) AS w
        FROM {rows.relation} GROUP BY ALL"""
    )
    yield _empty(connection, rows, n_days)
    yield from level_series(connection, rows, n_days, is_log=is_log)
    cuts = connection.execute(
        f"SELECT quantile_disc(v, [{', '.join(str(i / N_BINS) for i in range(1, N_BINS))}]) FROM day_values"
    ).fetchall()[0][0]
    edges = sorted(set(cuts or []))
    if len(edges) < 2:
        return
    place = " + ".join(f"CAST(v > {edge!r} AS INTEGER)" for edge in edges)
    sums = matrix(
        connection,
        f"SELECT day, {place}, sum(w) FROM day_values WHERE v IS NOT NULL GROUP BY ALL",
        n_days,
        len(edges) + 1,
    )
    labels = (*(f"≤ {edge:g}" for edge in edges), f"> {edges[-1]:g}")
    yield Series(rows.signal("spread"), rows.family, "mix", sums.sum(axis=1), sums, labels=labels)


def level_series(
    connection: duckdb.DuckDBPyConnection, rows: Rows, n_days: int, *, is_log: bool = False, segment: str | None = None
) -> Iterator[Series]:
    """The mean of `day_values` (day, v, w) by day."""
    x, kept = ("ln(v)", "v > 0") if is_log else ("v", "v IS NOT NULL")
    cells = daily(
        connection,
        f"SELECT day, sum(w), sum(w * {x}), sum(w * {x} * {x}) FROM day_values WHERE {kept} GROUP BY day",
        n_days,
        3,
    )
    if cells[:, 0].any():
        name = rows.signal("level")
        sums, squares = cells[:, 1:2], cells[:, 2:]
        yield Series(name, rows.family, "mean", cells[:, 0], sums, squares, is_log=is_log, segment=segment)


def segment_series(
    connection: duckdb.DuckDBPyConnection,
    rows: Rows,
    by: tuple[str, str, tuple[str, ...]],
    labels: tuple[str, ...],
    n_days: int,
) -> Iterator[Series]:
    """The mix of a column within each of some segments.

    Args:
        by: The segments' name, the SQL of their value, and the values that are segments.
        labels: Kinds of the mix over all.
    """
    name, value, segments = by
    kinds = ", ".join(literal(one) for one in labels)
    for segment in segments:
        query = f"""SELECT day, list_position([{kinds}], {rows.value}) - 1, sum(w) FROM {rows.relation}
            WHERE {value} = {literal(segment)} AND {rows.value} IN ({kinds}) GROUP BY ALL"""
        sums = matrix(connection, query, n_days, len(labels))
        told = f"{name}={segment}"
        yield Series(rows.signal("mix"), rows.family, "mix", sums.sum(axis=1), sums, labels=labels, segment=told)
