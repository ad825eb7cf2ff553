"""Counts of an extract's columns, and how columns relate to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.sql import identifier, plain_number_sql
from validation.profile.extracts.files import Extract, Workspace
from validation.profile.values.column import Column
from validation.reading import times as reading
from validation.reading.dialect import Dialect

N_SAMPLES = 2000
_N_COMMON = 300


def describe(workspace: Workspace, extract: Extract) -> list[Column]:
    """Count every column of an extract."""
    if not extract.columns or not extract.n_rows:
        return []
    counts = []
    for name in extract.columns:
        own = identifier(name)
        counts += [
            f"count({own})",
            f"count(DISTINCT {own})",
            f"count(*) FILTER (regexp_full_match({own}, '[+-]?\\d+(\\.0+)?'))",
            f"count({plain_number_sql(own)})",
            f"avg(length({own}))",
            f"count(*) FILTER (contains({own}, ' '))",
        ]
    (row,) = workspace.connection.sql(f"SELECT {', '.join(counts)} FROM {extract.relation}").fetchall()
    return [
        _column(workspace, extract, name, row[6 * number : 6 * number + 6])
        for number, name in enumerate(extract.columns)
    ]


def _column(workspace: Workspace, extract: Extract, name: str, counts: Sequence[Any]) -> Column:
    n_given, n_distinct, whole, numbers, chars, spaced = counts
    own, source = identifier(name), extract.relation
    common: list[tuple[str, int]] = []
    if n_distinct <= max(_N_COMMON, 0.2 * n_given):
        common = workspace.connection.sql(
            f"SELECT {own}, count(*) AS n FROM {source} WHERE {own} IS NOT NULL "
            f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {_N_COMMON}"
        ).fetchall()
    step = max(1, extract.n_rows // N_SAMPLES)
    sampled = workspace.connection.sql(
        f"SELECT {own} FROM {source} WHERE rowid % {step} = 0 AND {own} IS NOT NULL ORDER BY rowid LIMIT {N_SAMPLES}"
    ).fetchall()
    given = max(1, n_given)
    return Column(
        name=name,
        n_rows=extract.n_rows,
        n_given=n_given,
        n_distinct=n_distinct,
        share_whole=whole / given,
        share_numbers=numbers / given,
        mean_chars=float(chars or 0.0),
        share_spaced=spaced / given,
        common=tuple(common),
        samples=tuple(value for (value,) in sampled),
    )


def dependence(workspace: Workspace, extract: Extract, key: str, column: str) -> tuple[float, int]:
    """How far a column follows from a key: 1 where every key has one value, 0 where it is no better than chance.

    Returns:
        The share beyond chance, and how many rows it was counted on (those of repeated keys).
    """
    (row,) = workspace.connection.sql(
        f"""
        WITH pairs AS (SELECT {identifier(key)} AS k, {identifier(column)} AS v, count(*) AS n FROM {extract.relation}
                       WHERE {identifier(key)} IS NOT NULL AND {identifier(column)} IS NOT NULL GROUP BY ALL),
             keys AS (SELECT max(n) AS top, sum(n) AS n FROM pairs GROUP BY k),
             all_values AS (SELECT sum(n) AS n FROM pairs GROUP BY v)
        SELECT (SELECT sum(top - 1) FROM keys WHERE n > 1), (SELECT sum(n - 1) FROM keys WHERE n > 1),
               (SELECT max(n) / sum(n) FROM all_values)
        """
    ).fetchall()
    alike, n, chance = (float(value or 0) for value in row)
    if n == 0 or chance >= 1:
        return 0.0, int(n)
    return max(0.0, (alike / n - chance) / (1 - chance)), int(n)


def overlap(workspace: Workspace, one: tuple[Extract, str], other: tuple[Extract, str]) -> tuple[int, int, int]:
    """How many different values two columns have in common, and each alone; 17850.0 and 17850 are one value."""

    def values(place: tuple[Extract, str]) -> str:
        extract, name = place
        own = identifier(name)
        return (
            f"SELECT DISTINCT regexp_replace({own}, '\\.0+$', '') AS v FROM {extract.relation} WHERE {own} IS NOT NULL"
        )

    (row,) = workspace.connection.sql(
        f"WITH a AS ({values(one)}), b AS ({values(other)}) "
        "SELECT (SELECT count(*) FROM a SEMI JOIN b USING (v)), (SELECT count(*) FROM a), (SELECT count(*) FROM b)"
    ).fetchall()
    return tuple(row)


def time_sql(name: str, formats: Sequence[str]) -> str:
    """A column of texts as times: the formats in order, then ISO 8601 and numbers of any unit."""
    return reading.time_sql(identifier(name), "VARCHAR", Dialect(date_formats=formats))
