"""Groups of users by what is known of them: attributes with a few values, as `user_segments` (user_id, segment)."""

from __future__ import annotations

from pathlib import Path

import duckdb

from core.schema import SIGNUP_AT, USER_ID
from core.sql import identifier, literal
from monitoring.signals.data import MAX_COLUMNS, MAX_SEGMENT_ATTRIBUTES, MAX_SEGMENTS, SEGMENT_VALUES


def read_segments(connection: duckdb.DuckDBPyConnection, clean: Path) -> list[str]:
    """Make `user_segments`, a row per user and segment that they are in; the segments, each as `column=value`."""
    path = literal(str(clean / "users.parquet"))
    named = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()
    names = [str(name) for name, *_ in named if name not in (USER_ID, SIGNUP_AT)][:MAX_COLUMNS]
    connection.execute("CREATE OR REPLACE TEMP TABLE user_segments (user_id VARCHAR, segment VARCHAR)")
    low, high = SEGMENT_VALUES
    found: list[str] = []
    n_attributes = 0
    for name in names:
        own = f"CAST({identifier(name)} AS VARCHAR)"
        values = connection.execute(
            f"""SELECT {own}, count(*) FROM read_parquet({path}) WHERE {own} IS NOT NULL
            GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {high + 1}"""
        ).fetchall()
        if not low <= len(values) <= high or n_attributes == MAX_SEGMENT_ATTRIBUTES:
            continue
        n_attributes += 1
        kept = [str(value) for value, _ in values[:MAX_SEGMENTS]]
        connection.execute(
            f"""INSERT INTO user_segments SELECT user_id, {literal(name + "=")} || {own} FROM read_parquet({path})
            WHERE {own} IN ({", ".join(literal(one) for one in kept)})"""
        )
        found += [f"{name}={one}" for one in kept]
    return found
