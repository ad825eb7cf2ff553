"""The rules of `validate_interactions` as one plain DuckDB script: what validation is measured against.

It knows its one file and its thirty rules, and does what whoever wrote it for just them would do: types are taken as
they are, rows are marked in one pass, duplicates are found by hash and compared exactly, clean rows and quarantine
are written.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from core.sql import literal

MASKS = {
    "row_readable": "false",
    "row_nearly_empty": "(user_id IS NOT NULL)::INT + (item_id IS NOT NULL)::INT + (value IS NOT NULL)::INT "
    "+ (timestamp IS NOT NULL)::INT < 2",
    "event_id_required": "event_id IS NULL",
    "user_id_required": "user_id IS NULL",
    "item_id_required": "item_id IS NULL",
    "event_required": "event IS NULL",
    "value_parses": "NOT isfinite(value)",
    "value_in_range": "isfinite(value) AND (value < 1 OR value > 5)",
    "timestamp_required": "timestamp IS NULL",
    "timestamp_parses": "NOT isfinite(timestamp)",
    "timestamp_in_range": "timestamp < '1995-01-01' OR timestamp > now()",
    "position_parses": "false",
    "event_in_set": "event NOT IN ('impression', 'view', 'click', 'cart', 'purchase', 'rating')",
    "rating_has_value": "event = 'rating' AND value IS NULL",
    "user_id_known": "user_id NOT IN (SELECT user_id FROM users)",
    "item_id_known": "item_id NOT IN (SELECT item_id FROM items)",
    "event_id_form": "NOT regexp_full_match(event_id, 'e[0-9]+')",
    "user_id_form": "NOT regexp_full_match(user_id, '(u[0-9]+|nobody)')",
    "item_id_form": "NOT regexp_full_match(item_id, '(i[0-9]+|i-gone)')",
    "event_short": "length(event) > 20",
    "item_id_short": "length(item_id) > 64",
    "position_counts": "position < 0",
    "whole_stars": "isfinite(value) AND value NOT IN (0, 1, 2, 3, 4, 5, 9)",
}
WARNINGS = {"value_of_rating_only": "event <> 'rating' AND value IS NOT NULL"}


def validate_bare(folder: Path, target: Path) -> dict[str, int]:
    """Hold `interactions.parquet` of a folder against the rules; write `clean.parquet` and `quarantine.parquet`.

    Returns:
        Rows clean, quarantined, and exact copies.
    """
    target.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as db:
        for setting in (
            "threads = 2",
            "memory_limit = '2GB'",
            "TimeZone = 'UTC'",
            f"temp_directory = {literal(str(target / 'spill'))}",
        ):
            db.execute(f"SET {setting}")
        for table in ("users", "items"):
            db.execute(f"CREATE TABLE {table} AS FROM read_parquet({literal(f'{folder / table}.parquet')})")
        bits = {name: 1 << bit for bit, name in enumerate([*MASKS, *WARNINGS, "key_unique", "exact_duplicate"])}
        marks = " | ".join(
            f"CASE WHEN {mask} THEN {bits[name]}::BIGINT ELSE 0::BIGINT END"
            for name, mask in (MASKS | WARNINGS).items()
        )
        source = f"read_parquet({literal(str(folder / 'interactions.parquet'))}, file_row_number = true)"
        text = ", ".join(f"nullif(trim({name}), '') AS {name}" for name in ("event_id", "user_id", "item_id"))
        columns = "event_id, user_id, item_id, event, value, timestamp, position"
        db.execute(
            f"""CREATE TABLE staged AS SELECT *, {marks} AS broken FROM (
            SELECT file_row_number AS n, hash({columns}) AS h, {text}, lower(nullif(trim(event), '')) AS event, value,
            timestamp, position FROM {source})"""
        )
        _mark_duplicates(db, source, columns, bits)
        _warn(db)
        fatal = sum(bit for name, bit in bits.items() if name not in WARNINGS and name != "exact_duplicate")
        copy = bits["exact_duplicate"]
        db.execute(
            f"""COPY (SELECT event_id, user_id, item_id, event, CASE WHEN event = 'rating' THEN value END AS value,
            timestamp, position FROM staged WHERE broken & {fatal | copy} = 0 ORDER BY n)
            TO {literal(str(target / "clean.parquet"))} (FORMAT parquet, COMPRESSION zstd)"""
        )
        names = ", ".join(f"CASE WHEN broken & {bit} <> 0 THEN {literal(name)} END" for name, bit in bits.items())
        db.execute(
            f"""COPY (SELECT 'interactions.parquet:' || n AS source_position, CAST(to_json(r) AS VARCHAR) AS source_row,
            list_filter([{names}], lambda name: name IS NOT NULL) AS rules
            FROM (SELECT {columns}, file_row_number FROM {source}) r JOIN staged ON n = r.file_row_number
            WHERE broken & {fatal} <> 0 AND broken & {copy} = 0 ORDER BY n)
            TO {literal(str(target / "quarantine.parquet"))} (FORMAT parquet, COMPRESSION zstd)"""
        )
        counts = db.execute("SELECT broken, count(*) FROM staged GROUP BY ALL").fetchall()
    found = {"clean": 0, "quarantined": 0, "duplicates": 0}
    for broken, count in counts:
        found["duplicates" if broken & copy else "quarantined" if broken & fatal else "clean"] += count
    return found


def _mark_duplicates(db: duckdb.DuckDBPyConnection, source: str, columns: str, bits: dict[str, int]) -> None:
    """Exact copies of a row, then rows that share an event id with an earlier one."""
    db.execute(
        f"""UPDATE staged SET broken = broken | {bits["exact_duplicate"]} WHERE n IN (
        SELECT n FROM (SELECT file_row_number AS n, row_number() OVER (PARTITION BY {columns} ORDER BY file_row_number)
            AS nth FROM {source}
            WHERE hash({columns}) IN (SELECT h FROM staged GROUP BY h HAVING count(*) > 1)) WHERE nth > 1)"""
    )
    keyed = f"SELECT * FROM staged WHERE event_id IS NOT NULL AND broken & {bits['exact_duplicate']} = 0"
    fatal = sum(bits[name] for name in MASKS)
    db.execute(
        f"""UPDATE staged SET broken = broken | {bits["key_unique"]} WHERE n IN (
        SELECT n FROM (SELECT n, row_number() OVER (PARTITION BY event_id ORDER BY broken & {fatal} <> 0, n) AS nth
            FROM ({keyed}) WHERE event_id IN (SELECT event_id FROM ({keyed}) GROUP BY event_id HAVING count(*) > 1))
        WHERE nth > 1)"""
    )


def _warn(db: duckdb.DuckDBPyConnection) -> None:
    """Order of time, shares of unknown ids, enough rows."""
    db.execute(
        """SELECT count(*) FROM (SELECT timestamp < lag(timestamp) OVER (PARTITION BY user_id ORDER BY position) AS late
        FROM staged WHERE user_id IS NOT NULL AND timestamp IS NOT NULL) WHERE late"""
    ).fetchall()
    bits = {name: 1 << bit for bit, name in enumerate(MASKS)}
    db.execute(
        f"""SELECT avg((broken & {bits["user_id_known"]} <> 0)::INT), avg((broken & {bits["item_id_known"]} <> 0)::INT),
        count(*) FROM staged"""
    ).fetchall()
