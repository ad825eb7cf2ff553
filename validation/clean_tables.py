"""The clean tables: every staged row that no rule removes, typed as the contract says, in the source's order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from core import schema
from core.events import RATING_EVENT
from core.schema import TABLES, TableName
from core.sql import identifier, json_pointer, literal
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
    columns = [_clean_sql(table, column.name) for column in TABLES[table].columns]
    attributes = _attributes(connection, table, clean)
    columns += [f"{_attribute_sql(keys)} AS {identifier(name)}" for name, keys in attributes.items()]
    place = "row_number"
    while place in map(str.lower, attributes):  # an attribute may bear any name
        place += "_"
    referred = " UNION ".join(f"SELECT {key} FROM staged_{one.table} WHERE NOT {one.excluded}" for one in referring)
    connection.execute(
        f"""CREATE TEMP TABLE derived_{table} AS
        SELECT {key} FROM ({referred}) WHERE {key} NOT IN (SELECT {key} FROM ({clean}))"""
    )
    query = f"""
        SELECT * EXCLUDE ({place}) FROM (
            SELECT {", ".join(columns)}, row_number AS {place} FROM ({clean})
            UNION ALL BY NAME SELECT {key} FROM derived_{table}
        ) ORDER BY {place} NULLS LAST, {key}"""
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


def _attribute_sql(keys: Sequence[str]) -> str:
    """An attribute out of all ways in which its key is written; a row that has several values keeps each, joined."""
    values = [f"json_extract_string(attributes, {json_pointer(key)})" for key in keys]
    if len(values) == 1:
        return values[0]
    first = "lambda value, place: list_position(found, value) = place"
    distinct = f"list_transform([[{', '.join(values)}]], lambda found: list_filter(found, {first}))[1]"
    return f"nullif(array_to_string({distinct}, ', '), '')"


def _attributes(connection: duckdb.DuckDBPyConnection, table: TableName, clean: str) -> dict[str, list[str]]:
    """The columns that attributes make, and the keys that each is read from.

    SQL does not distinguish names that differ in case alone: such keys are one attribute. One that bears the name of a
    column of the contract gets another.
    """
    found = connection.execute(
        f"SELECT DISTINCT unnest(json_keys(attributes)) AS name FROM ({clean}) WHERE attributes <> '' ORDER BY name"
    ).fetchall()
    taken = set(TABLES[table].arrow().names)
    columns: dict[str, tuple[str, list[str]]] = {}
    for (key,) in found:
        name = str(key).replace("\0", "") or "attribute"
        if name.lower() in taken:
            name += "_attribute"
        columns.setdefault(name.lower(), (name, []))[1].append(str(key))
    return dict(columns.values())
