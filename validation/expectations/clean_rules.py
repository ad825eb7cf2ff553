"""What of the rules can be said of the clean tables, in Great Expectations' own types: for whoever has only those.

The gate's rules are on the source's rows: whether a row reads, is a copy, names a user whom another table knows. A
clean table tells none of that. What it does tell stands here under the name that the gate's rule has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from core import schema
from core.events import CLOCK_SKEW, RATING_EVENT
from core.schema import EVENTS, MAX_ID_CHARS, RATING_RANGE, TABLES, Column, TableName
from core.settings.validation import OwnRule, ValidationSettings
from core.sql import literal
from validation.expectations.suites import label_expectation
from validation.reading.values import IDS
from validation.rules.contract import KEY_UNIQUE
from validation.rules.rule import Rule, outside

if TYPE_CHECKING:
    import great_expectations as gx

_NOT_NULL, _BETWEEN = "ExpectColumnValuesToNotBeNull", "ExpectColumnValuesToBeBetween"
# Counts without examples: what is stored tells of no person.
RESULT_FORMAT: Mapping[str, Any] = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True)
class CleanRule:
    """One rule on a clean table.

    Attributes:
        name: That of the gate's rule.
        expectation: Name of the Great Expectations class, and its arguments.
        broken: SQL over a clean row, true where the rule is broken; "false" where the gate has seen to it by comparing
            rows, which is not done twice.
        given: The rule holds for ratings ("="), or for every other event ("IS DISTINCT FROM"); "" for all rows.
        why: One sentence for the Data Docs.
    """

    name: str
    expectation: str
    arguments: Mapping[str, Any]
    broken: str = "false"
    given: str = ""
    why: str = ""

    @property
    def where(self) -> str:
        """SQL over a clean row, true where the rule looks at it."""
        return f"event {self.given} {literal(RATING_EVENT)}" if self.given else "true"

    def build(self) -> Any:
        """The expectation."""
        import great_expectations as gx
        from great_expectations.expectations.row_conditions import Column as RowColumn

        more: dict[str, Any] = {}
        if self.given:
            event = RowColumn(schema.EVENT)
            condition = event == RATING_EVENT if self.given == "=" else event != RATING_EVENT
            more = {"row_condition": condition, "condition_parser": "pandas"}
        kind = getattr(gx.expectations, self.expectation)
        return kind(**self.arguments, **more, **label_expectation(self.name, "row", self.why))


def build_clean_rules(
    table: TableName, rules: Sequence[Rule], settings: ValidationSettings, now: datetime, rows_derived: int
) -> list[CleanRule]:
    """The rules on a clean table.

    Args:
        rules: Those of the gate on the source's rows, the shop's own among them.
        now: The time of the validation: no event is later.
        rows_derived: Rows that only events refer to: all their values but the id are empty.
    """
    columns = TABLES[table].columns
    names = [column.name for column in columns]
    found = [
        CleanRule(
            "columns", "ExpectTableColumnsToMatchSet", {"column_set": names, "exact_match": False},
            why="The columns of the contract are there; attributes may follow.",
        )
    ]  # fmt: skip
    if table == "interactions":
        why = f"At least {settings.min_interactions} clean interactions."
        least = {"min_value": settings.min_interactions}
        found.append(CleanRule("enough_rows", "ExpectTableRowCountToBeBetween", least, why=why))
    for column in columns:
        found += _on_column(column, settings, now)
    key = TABLES[table].key
    about = {"column": key[0]} if len(key) == 1 else {"column_list": list(key)}
    unique = "ExpectColumnValuesToBeUnique" if len(key) == 1 else "ExpectCompoundColumnsToBeUnique"
    found.append(CleanRule(KEY_UNIQUE, unique, about, why=f"No two rows share {' / '.join(key)}."))
    if table == "interactions":
        found += _on_events()
    by_name = {rule.name: rule for rule in rules}
    own = [_own(one, by_name[one.name], rows_derived) for one in settings.rules if one.table == table]
    return [*found, *(rule for rule in own if rule is not None)]


def build_clean_suite(table: TableName, rules: Sequence[CleanRule], gate: Sequence[str]) -> gx.ExpectationSuite:
    """The suite of a clean table; its notes name the gate's rules that cannot be said of one.

    Args:
        gate: The names of all rules of the gate on this table.
    """
    import great_expectations as gx

    left_out = [name for name in gate if name not in {rule.name for rule in rules}]
    notes = [
        "What holds of the clean table. The gate checks these on the source's rows besides, and keeps what it found "
        f"as results of scanned_{table}: {', '.join(left_out)}."
    ]
    return gx.ExpectationSuite(name=table, expectations=[rule.build() for rule in rules], notes=notes)


def count_clean(connection: duckdb.DuckDBPyConnection, path: Path, rules: Sequence[CleanRule]) -> list[Any]:
    """What Great Expectations finds of each rule in a clean table: its results, on what DuckDB counts in one pass."""
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

    counted = ["count(*)"]
    for rule in rules:
        empty = f"{rule.arguments['column']} IS NULL" if "column" in rule.arguments else "false"
        counted += [f"count(*) FILTER ({rule.where} AND ({test}))" for test in ("true", empty, rule.broken)]
    source = f"read_parquet({literal(str(path))})"
    (found,) = connection.execute(f"SELECT {', '.join(counted)} FROM {source}").fetchall()
    columns = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    results = []
    for n, rule in enumerate(rules):
        expectation = rule.build()
        rows, nulls, unexpected = found[1 + 3 * n : 4 + 3 * n]
        metrics = {"table.row_count": rows, "table.columns": columns, "column_values.nonnull.unexpected_count": nulls}
        if hasattr(expectation, "map_metric"):
            metric = expectation.map_metric
            metrics |= {f"{metric}.filtered_row_count": rows, f"{metric}.unexpected_values": []}
            metrics[f"{metric}.unexpected_count"] = unexpected
        result = type(expectation)._validate(expectation, metrics, {"result_format": dict(RESULT_FORMAT)}, None)
        results.append(
            ExpectationValidationResult(
                success=result["success"],
                expectation_config=expectation.configuration,
                result=result["result"],
                exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
            )
        )
    return results


def _on_column(column: Column, settings: ValidationSettings, now: datetime) -> list[CleanRule]:
    name, about = column.name, {"column": column.name}
    rules = []
    if column.required:
        why = f"{column.meaning} Never empty."
        rules.append(CleanRule(f"{name}_required", _NOT_NULL, about, f"{name} IS NULL", why=why))
    if name in IDS:
        rules.append(
            _length(f"{name}_short_enough", name, MAX_ID_CHARS, f"An id has at most {MAX_ID_CHARS} characters.")
        )
    match name:
        case schema.RATING | schema.VALUE:
            low, high = RATING_RANGE
            limits = {"min_value": low, "max_value": high}
            why = "A rating lies between 1 and 5."
            rules.append(CleanRule(f"{name}_in_range", _BETWEEN, about | limits, outside(name, limits), why=why))
        case schema.PRICE:
            limits = {"min_value": 0.0}
            why = "A price is not negative."
            rules.append(CleanRule(f"{name}_in_range", _BETWEEN, about | limits, outside(name, limits), why=why))
        case schema.TIMESTAMP:
            first, last = datetime.combine(settings.earliest, time(), UTC), now + CLOCK_SKEW
            broken = " OR ".join(
                f"{name} {sign} {literal(moment.isoformat())}::TIMESTAMPTZ"
                for sign, moment in (("<", first), (">", last))
            )
            span = {"min_value": first, "max_value": last}
            why = f"Between {first:%Y-%m-%d} and {last:%Y-%m-%d %H:%M} UTC."
            rules.append(CleanRule(f"{name}_in_range", _BETWEEN, {**about, **span}, broken, why=why))
        case schema.TEXT:
            why = f"A review has at most {settings.max_text_chars} characters."
            rules.append(_length(f"{name}_in_range", name, settings.max_text_chars, why))
    return rules


def _length(rule: str, column: str, most: int, why: str) -> CleanRule:
    arguments = {"column": column, "max_value": most}
    return CleanRule(rule, "ExpectColumnValueLengthsToBeBetween", arguments, f"length({column}) > {most}", why=why)


def _on_events() -> list[CleanRule]:
    events = ", ".join(map(literal, EVENTS))
    value = {"column": schema.VALUE}
    return [
        CleanRule(
            "event_in_set", "ExpectColumnValuesToBeInSet", {"column": schema.EVENT, "value_set": list(EVENTS)},
            f"event IS NOT NULL AND list_position([{events}], event) IS NULL", why="An event of the contract.",
        ),
        CleanRule("rating_has_value", _NOT_NULL, value, "value IS NULL", "=", "A rating has a value."),
        CleanRule(
            "value_of_rating_only", "ExpectColumnValuesToBeNull", value, "value IS NOT NULL", "IS DISTINCT FROM",
            "Only ratings have a value.",
        ),
    ]  # fmt: skip


def _own(one: OwnRule, rule: Rule, rows_derived: int) -> CleanRule | None:
    """A rule of the shop's own as one on the clean table; None where that does not tell, or where rows may break it."""
    if one.severity != "row" or one.check == "sql":
        return None
    column = {"column": one.column}
    match one.check:
        case "unique":
            return CleanRule(one.name, "ExpectColumnValuesToBeUnique", column, why=rule.why)
        case "not_null":
            if rows_derived:
                return None
            return CleanRule(one.name, _NOT_NULL, column, f"{one.column} IS NULL", why=rule.why)
        case "matches" if not _in_python(one.pattern):
            return None
    return CleanRule(one.name, rule.expectation, {**column, **rule.arguments}, rule.mask, why=rule.why)


def _in_python(pattern: str) -> bool:
    """Whether Great Expectations on pandas can read a pattern that DuckDB reads."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
