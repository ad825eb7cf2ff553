"""Quarantine: every row that breaks a rule, as the source had it, as it was read, and the rules it breaks."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import duckdb
import pyarrow as pa

from core.quarantine.rows import QUARANTINE, RuleWords
from core.schema import TABLES, Column, TableName
from core.sql import identifier, literal
from validation.clean_tables import write_parquet
from validation.rules.rule import Rule
from validation.scan.picking import picked_name
from validation.scan.scan import Scan
from validation.staging.marks import BITS
from validation.staging.reading import read_sql

COLUMNS = {
    "table": "VARCHAR",
    "rules": "VARCHAR[]",
    "run": "VARCHAR",
    "source_file": "VARCHAR",
    "source_number": "BIGINT",
    "source_position": "VARCHAR",  # "reviews.csv:17"
    "source_row": "VARCHAR",  # as it was read: the row's own text, or its columns as JSON
    "values": "VARCHAR",  # the contract's columns in the source's own words, JSON text of texts
    "attributes": "VARCHAR",  # the further columns of a user or an item, JSON text of texts; "" for none
}


def write_quarantine(connection: duckdb.DuckDBPyConnection, scan: Scan, run: str, folder: Path) -> int:
    """Write a table's quarantined rows, which `pick_broken` has read again.

    Returns:
        How many rows were written.
    """
    target = folder / QUARANTINE / f"{scan.table}.parquet"
    if not scan.rows_quarantined:
        empty = ", ".join(f"CAST(NULL AS {type_}) AS {identifier(name)}" for name, type_ in COLUMNS.items())
        write_parquet(connection, f"SELECT {empty} WHERE false", target)
        return 0
    read = read_sql(scan.table, scan.parts, scan.dialect, lambda one: picked_name("broken", scan, one))
    values = ", ".join(
        f"'{column.name}': {_text_of(column, column.name in scan.dialect.values)}"
        for column in TABLES[scan.table].columns
    )
    words = [f"broken_{word}" for word in range((len(scan.rules) - 1) // BITS + 1)]
    query = f"""
        SELECT {literal(scan.table)} AS "table", {rule_names_sql(scan.rules)} AS rules, {literal(run)} AS run,
            source_file, source_number, source_file || ':' || source_number AS source_position, source_row,
            CAST(to_json({{{values}}}) AS VARCHAR) AS "values", coalesce(r.attributes, '') AS attributes
        FROM ({read}) r JOIN (
            SELECT row_number, {", ".join(words)} FROM staged_{scan.table} WHERE {scan.excluded} AND NOT {scan.copy}
        ) s USING (row_number)
        ORDER BY row_number"""
    write_parquet(connection, query, target)
    return scan.rows_quarantined


def words_of(scan: Scan) -> tuple[RuleWords, ...]:
    """What the rules say that send rows of a table to quarantine."""
    return tuple(
        RuleWords(
            name=rule.name,
            column=_column_of(scan.table, rule),
            expectation=rule.expectation,
            why=_reason(scan.table, rule),
        )
        for rule in scan.rules
        if rule.severity == "row"
    )


def _reason(table: TableName, rule: Rule) -> str:
    """What holds for good rows, without what the column means: that is said of it elsewhere."""
    meanings = [f"{column.meaning} " for column in TABLES[table].columns if column.name == rule.column]
    why = unescape(rule.why)  # reasons are written for pages of HTML
    return next((why.removeprefix(one) for one in meanings if why.startswith(one)), why)


def _column_of(table: TableName, rule: Rule) -> str:
    """The contract's column that a rule is about, whichever derived one it looks at; "" for the row as a whole."""
    names = sorted((column.name for column in TABLES[table].columns), key=len, reverse=True)
    return next((name for name in names if rule.column == name or rule.column.startswith(f"{name}_")), "")


def rule_names_sql(rules: list[Rule]) -> str:
    """The names of the rules of severity "row" that a staged row breaks."""
    names = ", ".join(
        f"CASE WHEN broken_{number // BITS} & {1 << number % BITS} <> 0 THEN {literal(rule.name)} END"
        for number, rule in enumerate(rules)
        if rule.severity == "row"
    )
    return f"list_filter([{names}]::VARCHAR[], lambda name: name IS NOT NULL)"


def _text_of(column: Column, is_mapped: bool) -> str:
    """The value of a read row as text; a mapped value as it was before, since readmission maps it again."""
    if column.type != pa.string():
        return f"{column.name}_own" if is_mapped else f"{column.name}_text"
    return f"coalesce({column.name}_own, {column.name})" if is_mapped else column.name
