"""Empty values, as the settings handle them: a rule that drops the row, or a value that is filled in."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from core import schema
from core.schema import TIME, Column, TableName
from core.settings.validation import MissingValues
from core.sql import literal
from validation.errors import RuleError
from validation.reading.dialect import Dialect
from validation.reading.values import typed_sql
from validation.rules.rule import Rule
from validation.rules.settings import find_column, rule_error
from validation.rules.values import unread_is_bad
from validation.staging.layers import Step

_WHERE = "recipe.validation.cleaning.missing"
_NUMBERS = (pa.float64(), pa.int64())


def drop_rules(table: TableName, wanted: Sequence[MissingValues]) -> list[Rule]:
    """A rule for each column whose empty rows are dropped."""
    rules = []
    for one in wanted:
        if one.table == table and one.how == "drop":
            column = find_column(table, one.column, _WHERE)
            rules.append(
                Rule(
                    f"missing_{column.name}",
                    column.name,
                    "row",
                    _is_missing(column),
                    "ExpectColumnValuesToNotBeNull",
                    where_given=f"{column.name}_read" if unread_is_bad(column) else "readable",
                    applies_where="readable",
                    why=f"A row without {column.name} is left out (cleaning.missing).",
                )
            )
    return rules


def fill_steps(
    connection: duckdb.DuckDBPyConnection, table: TableName, wanted: Sequence[MissingValues], rows: str
) -> list[Step]:
    """A step for each column that is filled in, counted as `filled_<column>`.

    Args:
        rows: SQL of the table's rows as they stand; means, medians and modes are taken over them.
    Raises:
        RuleError: a column is unknown, or no number where one is needed, or the value is none of the column's.
    """
    steps = []
    for one in wanted:
        if one.table != table or one.how == "drop":
            continue
        column = find_column(table, one.column, _WHERE)
        name = column.name
        if one.how in ("mean", "median", "interpolate") and column.type not in _NUMBERS:
            raise _misfit(one, f"column={name!r} of type {column.type}", f"a number for how={one.how}")
        if one.how == "interpolate":
            if table not in ("interactions", "feedback"):
                raise _misfit(one, f"table={table!r}", "interactions or feedback for how=interpolate")
            filled = _interpolated(name)
        else:
            filled = _constant(connection, column, one, rows)
        missing = _is_missing(column)
        steps.append(
            Step(
                {name: f"CASE WHEN {missing} THEN {filled} ELSE {name} END"},
                {f"filled_{name}": f"{missing} AND ({filled}) IS NOT NULL"},
            )
        )
    return steps


def _is_missing(column: Column) -> str:
    """Empty, or emptied because it was unreadable; of interactions, only ratings can lack a value."""
    unread = f" AND {column.name}_unread IS NULL" if unread_is_bad(column) else ""
    rating = " AND event = 'rating'" if column.name == schema.VALUE else ""
    return f"(readable AND {column.name} IS NULL{unread}{rating})"


def _constant(connection: duckdb.DuckDBPyConnection, column: Column, one: MissingValues, rows: str) -> str:
    """What is filled in, as SQL; a column without any value stays empty."""
    type_ = {TIME: "TIMESTAMPTZ", pa.int64(): "BIGINT", pa.float64(): "DOUBLE"}.get(column.type, "VARCHAR")
    if one.how == "value":
        text = literal(one.value)
        filled = text if type_ == "VARCHAR" else typed_sql(column, text, "VARCHAR", Dialect())
    else:
        function = {"mean": "avg", "median": "median", "mode": "mode"}[one.how]
        filled = f"SELECT {function}({column.name}) FROM ({rows})"
    ((value,),) = connection.execute(f"SELECT CAST(CAST(({filled}) AS {type_}) AS VARCHAR)").fetchall()
    if value is None and one.how == "value":
        raise _misfit(one, f"value={one.value!r}", f"a value of {column.name}, {column.type}")
    return "NULL" if value is None else f"CAST({literal(value)} AS {type_})"


def _interpolated(name: str) -> str:
    """Linear in time between the nearest values of the same item; empty before the first and after the last."""
    moment = f"CASE WHEN {name} IS NOT NULL THEN epoch_us(timestamp) END"
    window = "(PARTITION BY item_id ORDER BY timestamp, row_number ROWS BETWEEN {} AND {})"
    before = window.format("UNBOUNDED PRECEDING", "CURRENT ROW")
    after = window.format("CURRENT ROW", "UNBOUNDED FOLLOWING")
    v0, t0 = (f"last_value({sql} IGNORE NULLS) OVER {before}" for sql in (name, moment))
    v1, t1 = (f"first_value({sql} IGNORE NULLS) OVER {after}" for sql in (name, moment))
    share = f"(epoch_us(timestamp) - {t0}) / greatest(1, {t1} - {t0})"
    inside = "timestamp IS NOT NULL AND item_id IS NOT NULL"
    return f"CASE WHEN {inside} THEN {v0} + ({v1} - {v0}) * ({share}) END"


def _misfit(one: MissingValues, got: str, expected: str) -> RuleError:
    return rule_error(got, expected, f"{_WHERE} of {one.table}.{one.column}")
