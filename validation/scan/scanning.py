"""One pass over a table: every row typed, repaired and checked against every rule by DuckDB, then rows are compared.

Rules on single rows are marked in the same pass that types the rows (`staging`); rules that compare rows (copies, keys,
near duplicates, bots, the k-core) follow on the staged table and touch only the rows that they find.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb

from core.schema import TABLES, TableName
from core.settings.validation import ValidationSettings
from core.sql import literal
from validation.cleaning.steps import build_cleaning
from validation.raw.parts import RawTables
from validation.reading.dialect import Dialect
from validation.rules.contract import build_rules
from validation.rules.derived import derived_columns
from validation.rules.own import build_own_rules, check_expressions, own_columns_sql
from validation.rules.shares import build_share_rules
from validation.rules.values import event_limits
from validation.scan.comparing import mark_compared
from validation.scan.counting import count_rows
from validation.scan.scan import Scan
from validation.staging.layers import derived_sql, repaired_sql
from validation.staging.marks import BITS, marks_sql
from validation.staging.parts import SQL_TYPES, StagedPart, find_parts, mapped_columns
from validation.staging.reading import FROM_LOG, read_sql


def scan_table(
    connection: duckdb.DuckDBPyConnection,
    raw: Path,
    note: RawTables,
    table: TableName,
    settings: ValidationSettings,
    now: datetime,
) -> Scan:
    """Make `staged_<table>` and count what its rows break. Users and items come before the tables that refer to them.

    Raises:
        RuleError: the settings' own rules or cleaning do not fit the table.
    """
    scan = _plan(connection, raw, note, table, settings, now)
    _stage(connection, scan, event_limits(settings, now))
    _keep_order(connection, table)
    mark_compared(connection, scan, settings)
    count_rows(connection, scan)
    if scan.rows_in != note.rows[table]:
        raise AssertionError(f"rows of {table}: {scan.rows_in} of {note.rows[table]} were read")
    return scan


def _plan(
    connection: duckdb.DuckDBPyConnection,
    raw: Path,
    note: RawTables,
    table: TableName,
    settings: ValidationSettings,
    now: datetime,
) -> Scan:
    parts = find_parts(connection, raw, note, table)
    mapped = mapped_columns(parts)
    dialect = Dialect.of(note.forms, table, settings.cleaning)
    lines = any(one.mapping.lines or one.part.origin == "overrides" for one in parts)
    rules = build_rules(table, settings, note.provided, mapped, now, lines)
    if not parts:
        return Scan(table, parts, rules, [], lambda relation: "")
    steps, cleaning = build_cleaning(
        connection, table, settings.cleaning, parts, read_sql(table, parts, dialect), dialect
    )
    rules += cleaning
    rules += build_share_rules(table, settings.shares, rules)
    rules += build_own_rules(table, settings.rules, rules)
    columns = derived_columns(table, mapped)
    check_expressions(connection, settings.rules, table, repaired_sql(table, read_sql(table, parts, dialect), steps)[0])
    columns |= own_columns_sql(settings.rules, table)
    kinds = repaired_sql(table, "SELECT 1", steps)[1]

    def derived(relation: Callable[[StagedPart], str]) -> str:
        return derived_sql(repaired_sql(table, read_sql(table, parts, dialect, relation), steps)[0], columns)

    return Scan(table, parts, rules, kinds, derived, dialect)


def _stage(connection: duckdb.DuckDBPyConnection, scan: Scan, limits: tuple[datetime, datetime]) -> None:
    table = scan.table
    columns = TABLES[table].columns
    if not scan.parts:
        typed = ", ".join(f"{column.name} {SQL_TYPES[column.type]}" for column in columns)
        marks = ", ".join(f"broken_{word} BIGINT" for word in range((len(scan.rules) - 1) // BITS + 1))
        connection.execute(
            f"""CREATE TABLE staged_{table} (
            row_number BIGINT, part INTEGER, readable BOOLEAN, row_hash UBIGINT, placed BOOLEAN, visited BOOLEAN,
            {typed}, attributes VARCHAR, moment TIMESTAMPTZ, {marks}, repaired BIGINT)"""
        )
        return
    names = ", ".join(column.name for column in columns)
    placed = "position IS DISTINCT FROM source_number" if table == "interactions" else "false"
    attributes = "attributes" if TABLES[table].open else "CAST(NULL AS VARCHAR) AS attributes"
    moment = f"{_possible('moment', limits)} AS moment" if TABLES[table].open else "CAST(NULL AS TIMESTAMPTZ) AS moment"
    connection.execute(
        f"""CREATE TABLE staged_{table} AS
        SELECT row_number, part, readable, row_hash, {placed} AS placed, {FROM_LOG} AS visited, {names},
            {attributes}, {moment}, {", ".join(marks_sql(scan.rules))}, repaired
        FROM ({scan.derived(StagedPart.file_sql)})"""
    )


def _possible(moment: str, limits: tuple[datetime, datetime]) -> str:
    """The moment of a line, null where no event can be then: what a line of 2099 says is not the newest."""
    first, last = (f"TIMESTAMPTZ {literal(limit.isoformat())}" for limit in limits)
    return f"CASE WHEN {moment} BETWEEN {first} AND {last} THEN {moment} END"


def _keep_order(connection: duckdb.DuckDBPyConnection, table: TableName) -> None:
    """Restore the source's order, where DuckDB turned a rule or a cleaning step into a join."""
    steps = f"SELECT row_number > lag(row_number, 1, -1) OVER () AS later FROM staged_{table}"
    ((kept,),) = connection.execute(f"SELECT bool_and(later) FROM ({steps})").fetchall()
    if kept is False:
        connection.execute(f"CREATE TABLE sorted_{table} AS SELECT * FROM staged_{table} ORDER BY row_number")
        connection.execute(f"DROP TABLE staged_{table}")
        connection.execute(f"ALTER TABLE sorted_{table} RENAME TO staged_{table}")
