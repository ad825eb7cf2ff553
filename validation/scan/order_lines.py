"""Users and items from lines of orders or reviews, or from what clients say: each column's newest value."""

from __future__ import annotations

import duckdb

from core.schema import TABLES, TableName


def gather_lines(connection: duckdb.DuckDBPyConnection, table: TableName, excluded: str, repeats: str) -> None:
    """Put into each id's newest line the newest value of every column that an older line gives.

    Args:
        excluded: SQL over a staged row, true where it breaks a rule.
        repeats: SQL over a staged row, true where several rows of its id are of one thing.
    """
    (key,) = TABLES[table].key
    names = [column.name for column in TABLES[table].columns if column.name != key]
    newest = ", ".join(
        f"arg_max({name}, ({newest_first()})) FILTER ({name} IS NOT NULL) AS {name}" for name in (*names, "moment")
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE gathered AS
        SELECT {key}, arg_max(row_number, ({newest_first()})) AS row_number, {newest},
            {_merged_attributes()} AS attributes
        FROM staged_{table} WHERE {key} IS NOT NULL AND {repeats} AND NOT ({excluded})
        GROUP BY {key} HAVING count(*) > 1"""
    )
    connection.execute(
        f"""UPDATE staged_{table} AS s SET {", ".join(f"{name} = g.{name}" for name in (*names, "attributes"))}
        FROM gathered AS g WHERE s.row_number = g.row_number"""
    )
    connection.execute("DROP TABLE gathered")


def newest_first() -> str:
    """SQL of the order of an id's lines: by time, then by place in the file."""
    return "coalesce(epoch_us(moment), -1::BIGINT), row_number"


def _merged_attributes() -> str:
    """The newest value of each attribute: JSON objects merged, the oldest first."""
    given = f"list(attributes ORDER BY {newest_first()}) FILTER (attributes IS NOT NULL)"
    # Lines mostly repeat the same attributes: only differing ones are merged.
    return (
        f"CASE WHEN count(DISTINCT attributes) < 2 THEN any_value(attributes) ELSE list_reduce({given}, "
        "lambda older, newer: CAST(json_merge_patch(older, newer) AS VARCHAR)) END"
    )
