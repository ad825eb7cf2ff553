"""What the catalogue said of each item, and since when: the items table is a snapshot, its changes are found by looks.

A look keeps the rows that are not as the last look saw them (a slowly changing dimension of type 2), so that an event
is joined with what held when it happened. A change that a look finds is taken to hold since the look before.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from core.schema import CREATED_AT, DESCRIPTION, ITEM_ID, TITLE
from core.sql import identifier, literal
from core.storage import atomic_file
from monitoring.signals.activity import Span

_EVER, _NEVER = -(2**62), 2**62  # microseconds
_SEEN_FROM = "seen_from_us"
_LEFT_OUT = {ITEM_ID, TITLE, DESCRIPTION, CREATED_AT}
STORE = "items.parquet"


def read_catalogue(
    connection: duckdb.DuckDBPyConnection, clean: Path, store: Path | None, span: Span, last_look_us: int | None
) -> list[str]:
    """Make `item_rows` (vid, iid, from_us, to_us, `item_column` of each): what held when.

    The store is brought up to date.

    Args:
        store: Where rows of earlier looks are; None: there are none, and none are kept.
        last_look_us: When the last look was, microseconds since 1970; None where this is the first.
    Returns:
        The columns but ids, texts and times.
    """
    items = f"read_parquet({literal(str(clean / 'items.parquet'))})"
    end_us = int(span.end.timestamp() * 1e6)
    since = _EVER if last_look_us is None else last_look_us
    excluded = ", ".join((TITLE, DESCRIPTION))
    union = f"SELECT * EXCLUDE ({excluded}), {since}::BIGINT AS {_SEEN_FROM}, true AS is_current FROM {items}"
    if store is not None and store.exists():
        union += f""" UNION ALL BY NAME SELECT *, false AS is_current FROM read_parquet({literal(str(store))})
            WHERE {_SEEN_FROM} < {end_us}"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE all_rows AS {union}")
    described = connection.execute("DESCRIBE all_rows").fetchall()
    known = {name for name, *_ in described}
    names = [name for name in known if name not in {*_LEFT_OUT, _SEEN_FROM, "is_current"}]
    ordered = [name for name, *_ in described if name in names]
    told = ", ".join(f"{identifier(name)}" for name in sorted(names))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE item_versions AS
        SELECT * EXCLUDE (is_current, said, before),
            coalesce(lead({_SEEN_FROM}) OVER (PARTITION BY item_id ORDER BY {_SEEN_FROM}), {_NEVER}) AS to_us
        FROM (
            SELECT * REPLACE (CASE WHEN before IS NULL THEN {_EVER} ELSE {_SEEN_FROM} END AS {_SEEN_FROM})
            FROM (SELECT *, lag(said) OVER (PARTITION BY item_id ORDER BY {_SEEN_FROM}, is_current) AS before
                FROM (SELECT *, hash({told or "1"}) AS said FROM all_rows))
            WHERE NOT is_current OR before IS NULL OR before <> said)"""
    )
    connection.execute("DROP TABLE all_rows")
    renamed = "".join(f", {identifier(name)} AS {item_column(name)}" for name in ordered)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE item_rows AS SELECT CAST(row_number() OVER () AS INTEGER) AS vid,
            hash(item_id) AS iid, {_SEEN_FROM} AS from_us, to_us {renamed} FROM item_versions"""
    )
    if store is not None:
        begin_us = int(span.starts(0).timestamp() * 1e6)
        kept = f"SELECT * EXCLUDE (to_us) FROM item_versions WHERE to_us >= {begin_us}"
        store.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(store) as temporary:
            connection.execute(f"COPY ({kept}) TO {literal(str(temporary))} (FORMAT parquet)")
    return ordered


def item_column(name: str) -> str:
    """SQL of a column of `item_rows`: users may have one of the same name."""
    return identifier(f"item.{name}")


def changed_by_factor(connection: duckdb.DuckDBPyConnection, column: str, since_us: int) -> tuple[float, float]:
    """By which factor a number of most items changed since a moment, and of which share of them, within 1 %."""
    own = item_column(column)
    (row,) = connection.execute(
        f"""WITH ratios AS (
            SELECT now.{own} / was.{own} AS ratio FROM item_rows AS now JOIN item_rows AS was USING (iid)
            WHERE now.to_us = {_NEVER} AND was.from_us < {since_us} AND was.to_us >= {since_us}
                AND now.{own} > 0 AND was.{own} > 0),
        middle AS (SELECT median(ratio) AS factor FROM ratios)
        SELECT factor, avg(CAST(abs(ratio / factor - 1) <= 0.01 AS INTEGER)) FROM ratios, middle GROUP BY factor"""
    ).fetchall() or [(1.0, 0.0)]
    return float(row[0] or 1.0), float(row[1] or 0.0)
