"""The shop's own rules, which the settings describe."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from core.schema import TIME, Column, TableName
from core.settings.validation import OwnRule
from core.sql import identifier, literal
from validation.errors import RuleError
from validation.rules.rule import Rule, comparing_rule, outside
from validation.rules.settings import find_column, rule_error

_WHERE = "recipe.validation.rules"
_NO_FILES: dict[str, Any] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "lock_configuration": True,
}
_FEW = 50  # values of a set


def build_own_rules(table: TableName, wanted: Sequence[OwnRule], taken: Sequence[Rule]) -> list[Rule]:
    """The rules that the settings name for a table. A value that is empty breaks none but `not_null`.

    Args:
        taken: The rules that the table has already.
    Raises:
        RuleError: a name is taken, a column is unknown or of the wrong type, or what the check needs is left out.
    """
    rules: list[Rule] = []
    for one in wanted:
        if one.table != table:
            continue
        if one.name in {rule.name for rule in (*taken, *rules)}:
            raise _misfit(one, f"name={one.name!r}", "a name that no other rule of the table bears")
        rules.append(_build(one))
    return rules


def own_columns_sql(rules: Sequence[OwnRule], table: TableName) -> dict[str, str]:
    """The columns that rules of kind `sql` look at: name to SQL over a repaired row."""
    return {_sql_column(one): _tested_sql(one.expression) for one in rules if one.table == table and one.check == "sql"}


def check_expressions(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[OwnRule], table: TableName, rows: str
) -> None:
    """Have DuckDB read every expression and pattern once, over no rows, where it can reach no file.

    Args:
        connection: Holds the tables that an expression may name: those staged before this one.
        rows: SQL of the rows that the expressions are over.
    Raises:
        RuleError: it cannot; the message names the rule and says why.
    """
    wanted = [one for one in rules if one.table == table and one.check in ("sql", "matches")]
    if not wanted:
        return
    with duckdb.connect(config=_NO_FILES) as closed:
        _copy_shape(connection, closed, "rows", rows)
        for (staged,) in connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall():
            _copy_shape(connection, closed, staged, f"SELECT * FROM {identifier(staged)}")
        for one in wanted:
            _check_expression(closed, one)


def _check_expression(closed: duckdb.DuckDBPyConnection, one: OwnRule) -> None:
    if one.check == "sql":
        tested, got = _tested_sql(one.expression), f"expression={one.expression!r}"
    else:
        tested, got = f"regexp_full_match('', {literal(one.pattern)})", f"pattern={one.pattern!r}"
    try:
        # Alone in brackets it is one statement: none follows that the settings would smuggle in.
        if one.check == "sql" and len(duckdb.extract_statements(f"SELECT ({one.expression}\n)")) != 1:
            raise _misfit(one, got, "one expression, not several statements")
        closed.execute(f"SELECT {tested} FROM rows LIMIT 0").fetchall()
    except duckdb.PermissionException as error:
        raise _misfit(one, got, "SQL over the staged tables alone, which reads no file") from error
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise _misfit(one, got, f"SQL that DuckDB understands, but: {reason}") from error


def _copy_shape(source: duckdb.DuckDBPyConnection, target: duckdb.DuckDBPyConnection, name: str, rows: str) -> None:
    """An empty table with the columns of a query."""
    described = source.execute(f"DESCRIBE {rows}").fetchall()
    columns = ", ".join(f"{identifier(column)} {type_}" for column, type_, *_ in described)
    target.execute(f"CREATE TABLE {identifier(name)} ({columns})")


def _tested_sql(expression: str) -> str:
    # The line break ends a comment, which would else swallow the rest of the query.
    return f"CAST(({expression}\n) AS BOOLEAN)"


def _build(one: OwnRule) -> Rule:
    if one.check == "sql":
        if not one.expression.strip():
            raise _misfit(one, "expression=''", "SQL for check=sql")
        name = _sql_column(one)
        met = {"value_set": [True]}
        # The staged row holds the contract's columns only, which is what an expression may name.
        return _rule(one, name, f"NOT {name}", "ExpectColumnValuesToBeInSet", met, f"({one.expression}\n) IS NOT NULL")
    column = find_column(one.table, one.column, f"{_WHERE}, {one.name}")
    name, is_text = column.name, column.type == pa.string()
    match one.check:
        case "not_null":
            return _not_null(one, column)
        case "unique":
            share = {"max_share": one.max_share}
            why = one.why or f"No two rows share {name}; the first one stays."
            return comparing_rule(one.name, one.severity, why, f"CAST({name} AS VARCHAR)", **share)
        case "between":
            limits = _limits(one)
            if is_text or column.type == TIME:
                raise _misfit(one, f"column={name!r} of type {column.type}", "a number for check=between; else use sql")
            return _rule(one, name, outside(name, limits), "ExpectColumnValuesToBeBetween", limits)
        case "in_set":
            return _in_set(one, column)
        case "matches":
            if not is_text or not one.pattern:
                raise _misfit(one, f"column={name!r}, pattern={one.pattern!r}", "a text column and a pattern")
            mask = f"NOT regexp_full_match({name}, {literal(one.pattern)})"
            return _rule(one, name, mask, "ExpectColumnValuesToMatchRegex", {"regex": f"^(?:{one.pattern})\\Z"})
        case "length":
            if not is_text:
                raise _misfit(one, f"column={name!r} of type {column.type}", "a text column for check=length")
            limits = {key: int(value) for key, value in _limits(one).items()}
            return _rule(one, name, outside(f"length({name})", limits), "ExpectColumnValueLengthsToBeBetween", limits)


def _not_null(one: OwnRule, column: Column) -> Rule:
    unread = "" if column.type == pa.string() else f" AND {column.name}_unread IS NULL"
    mask = f"readable AND {column.name} IS NULL{unread}"
    rule = _rule(one, column.name, mask, "ExpectColumnValuesToNotBeNull", {}, "readable")
    return replace(rule, where_given=f"{column.name}_read" if unread else "readable")


def _in_set(one: OwnRule, column: Column) -> Rule:
    if not one.values:
        raise _misfit(one, "values=()", "at least one value for check=in_set")
    if column.type == TIME:
        raise _misfit(one, f"column={column.name!r} of type time", "a text or a number for check=in_set")
    values: list[Any] = list(one.values)
    if column.type != pa.string():
        try:
            values = [float(value) for value in one.values]
        except ValueError as error:
            raise _misfit(one, f"values={one.values}", f"numbers, as {column.name} is one") from error
    listed = [literal(value) if isinstance(value, str) else repr(value) for value in values]
    # DuckDB makes a join of NOT IN, after which the rows have to be sorted again: worth it for long lists only.
    few = f"{column.name} IS NOT NULL AND list_position([{', '.join(listed)}], {column.name}) IS NULL"
    return _rule(
        one,
        column.name,
        few if len(listed) <= _FEW else f"{column.name} NOT IN ({', '.join(listed)})",
        "ExpectColumnValuesToBeInSet",
        {"value_set": values},
    )


def _limits(one: OwnRule) -> dict[str, float]:
    limits = {"min_value": one.minimum, "max_value": one.maximum}
    given = {name: value for name, value in limits.items() if value is not None}
    if not given:
        raise _misfit(one, "minimum and maximum empty", f"at least one of them for check={one.check}")
    return given


def _rule(
    one: OwnRule,
    column: str,
    mask: str,
    expectation: str,
    arguments: dict[str, Any],
    applies_where: str = "",
) -> Rule:
    why = one.why or f"The shop's own rule: {one.check} on {one.column or one.expression}."
    return Rule(
        one.name,
        column,
        one.severity,
        mask,
        expectation,
        arguments,
        applies_where=applies_where,
        max_share=0.0 if one.severity == "row" else one.max_share,
        why=html.escape(why, quote=False),
    )


def _sql_column(one: OwnRule) -> str:
    return f"{one.name}_met"


def _misfit(one: OwnRule, got: str, expected: str) -> RuleError:
    return rule_error(got, expected, f"{_WHERE}, {one.name}")
