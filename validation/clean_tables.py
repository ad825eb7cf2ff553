"""The clean tables: every staged row that no rule removes, typed as the contract says, in the source's order."""

from __future__ import annotations

from pathlib import Path

import duckdb

from core import schema
from core.events import RATING_EVENT
from core.schema import TABLES, TableName
from core.sql import identifier, literal
from core.storage import atomic_file
from validation.scan.scan import Scan
from validation.staging.parts import SQL_TYPES


def write_events(connection: duckdb.DuckDBPyConnection, scan: Scan, folder: Path) -> None:
    """Write the clean rows of interactions or feedback."""
    columns = ", ".join(_clean_sql(scan.table, column.name) for column in TABLES[scan.table].columns)
    write_parquet(
        connection,
        f"SELECT {columns} FROM staged_{scan.table} WHERE NOT {scan.excluded}",
        folder / f"{scan.table}.parquet",
    )


def write_entities(connection: duckdb.DuckDBPyConnection, scan: Scan, referring: tuple[Scan, ...], folder: Path) -> int:
    """Write clean users or items with their attributes, and a bare row for each id that only events refer to.

    Args:
        referring: Interactions and feedback.
    Returns:
        How many bare rows were added.
    """
    table = scan.table
    (key,) = TABLES[table].key
    clean = f"SELECT * FROM staged_{table} WHERE NOT {scan.excluded}"
    names = _attribute_names(connection, table, clean)
    columns = [_clean_sql(table, column.name) for column in TABLES[table].columns]
    columns += [
        f"json_extract_string(attributes, {literal('$.' + identifier(name))}) AS {identifier(name)}" for name in names
    ]
    referred = " UNION ".join(f"SELECT {key} FROM staged_{one.table} WHERE NOT {one.excluded}" for one in referring)
    connection.execute(
        f"""CREATE TEMP TABLE derived_{table} AS
        SELECT {key} FROM ({referred}) WHERE {key} NOT IN (SELECT {key} FROM ({clean}))"""
    )
    query = f"""
        SELECT * EXCLUDE (row_number) FROM (
            SELECT {", ".join(columns)}, row_number FROM ({clean})
            UNION ALL BY NAME SELECT {key} FROM derived_{table}
        ) ORDER BY row_number NULLS LAST, {key}"""
    write_parquet(connection, query, folder / f"{table}.parquet")
    ((count,),) = connection.execute(f"SELECT count(*) FROM derived_{table}").fetchall()
    return int(count)


def write_parquet(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    """Write a query's rows, in their order, atomically."""
    with atomic_file(target) as temporary:
        connection.execute(f"COPY ({query}) TO {literal(str(temporary))} (FORMAT parquet, COMPRESSION zstd)")


def _clean_sql(table: TableName, name: str) -> str:
    """A contract column from its staged form."""
    if name == schema.VALUE:
        return f"CASE WHEN event = '{RATING_EVENT}' THEN value END AS value"
    if name == schema.POSITION:  # where the source has no order of its own, the order of its rows
        return "coalesce(position, row_number) AS position"
    (column,) = (column for column in TABLES[table].columns if column.name == name)
    return f"CAST({name} AS {SQL_TYPES[column.type]}) AS {name}"


def _attribute_names(connection: duckdb.DuckDBPyConnection, table: TableName, clean: str) -> list[str]:
    found = connection.execute(
        f"SELECT DISTINCT unnest(json_keys(attributes)) AS name FROM ({clean}) WHERE attributes <> '' ORDER BY name"
    ).fetchall()
    taken = set(TABLES[table].arrow().names)
    names: dict[str, str] = {}
    for (name,) in found:
        if name and name.lower() not in taken:
            names.setdefault(name.lower(), str(name))
    return list(names.values())
