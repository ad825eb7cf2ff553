"""The columns of the prediction log, and those of them that figures of an experiment read."""

from __future__ import annotations

from collections.abc import Mapping

from core.logs.predictions import PINNED
from core.sql import identifier, literal

COLUMNS = {
    "recommendation_id": "VARCHAR",
    "at": "TIMESTAMPTZ",
    "endpoint": "VARCHAR",
    "model": "VARCHAR",
    "items": "VARCHAR[]",
    "scores": "DOUBLE[]",
    "parts": "VARCHAR[]",
    "rules": "VARCHAR[]",
    "propensities": "DOUBLE[]",
    "user_id": "VARCHAR",
    "visitor_id": "VARCHAR",
    "experiment": "VARCHAR",
    "variant": "VARCHAR",
    "instead_of": "VARCHAR",
    "unit": "VARCHAR",
    "role": "VARCHAR",
    "k": "BIGINT",
    "seed": "BIGINT",
    "seed_given": "BOOLEAN",
    "filtered": "BOOLEAN",
    "cold_start": "BOOLEAN",
    "degraded": "VARCHAR[]",
    "took_ms": "DOUBLE",
    "together": "BIGINT",
    "overlap": "DOUBLE",
    "rank_correlation": "DOUBLE",
    "request_id": "VARCHAR",
    "is_shadow": "BOOLEAN",
    "dropped": "BIGINT",
    "dropped_since": "TIMESTAMPTZ",
}
# What figures of an experiment need not read.
_BESIDE = {
    "endpoint",
    "scores",
    "parts",
    "propensities",
    "k",
    "seed",
    "seed_given",
    "filtered",
    "cold_start",
    "degraded",
    "request_id",
    "is_shadow",
}
OF_EXPERIMENT = {name: kind for name, kind in COLUMNS.items() if name not in _BESIDE}
IS_PINNED = f"coalesce(starts_with(rule, {literal(PINNED)}), FALSE)"
MEMORY = "512MB"  # of the tables; what does not fit lies in a folder for the time


def lines_of(columns: Mapping[str, str], are_there: bool = True, are_kept: bool = False) -> str:
    """What stands behind FROM: the lines of `$files`, segments of the log, and the rows of `$kept`, Parquet.

    Args:
        columns: Their names and types.
        are_there, are_kept: Whether there are files of the kind.
    """
    found, names = [], ", ".join(map(identifier, columns))
    nothing = f"SELECT {', '.join(f'NULL::{kind} AS {identifier(name)}' for name, kind in columns.items())} WHERE FALSE"
    if are_there:
        read = "read_json($files, format = 'newline_delimited', ignore_errors = true"
        found.append(f"SELECT {names} FROM {read}, columns = {dict(columns)!r})")
    if are_kept:
        # What was kept before a column was there has none of it.
        whole = f"SELECT * FROM read_parquet($kept, union_by_name = true) UNION ALL BY NAME {nothing}"
        found.append(f"SELECT {names} FROM ({whole})")
    if not found:
        found.append(nothing)
    return f"({' UNION ALL '.join(found)})"
