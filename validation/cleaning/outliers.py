"""Outliers: fences computed from the column, and what the settings do with values beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow as pa

from core.schema import TableName
from core.settings.validation import Outliers
from validation.rules.rule import Rule, outside
from validation.rules.settings import find_column, rule_error
from validation.staging.layers import Step

_WHERE = "recipe.validation.cleaning.outliers"


@dataclass(frozen=True)
class Fences:
    """The range outside of which a value of `wanted.column` is an outlier."""

    wanted: Outliers
    low: float
    high: float

    @property
    def limits(self) -> dict[str, float]:
        return {"min_value": self.low, "max_value": self.high}


def find_fences(
    connection: duckdb.DuckDBPyConnection, table: TableName, wanted: Sequence[Outliers], rows: str
) -> list[Fences]:
    """The fences of each column that the settings name; a column without any value has none.

    Args:
        rows: SQL of the table's rows as they stand.
    Raises:
        RuleError: a column is unknown or no number.
    """
    found = []
    for one in wanted:
        if one.table != table:
            continue
        column = find_column(table, one.column, _WHERE)
        name = column.name
        if column.type not in (pa.float64(), pa.int64()):
            raise rule_error(f"column={name!r} of type {column.type}", "a number", _WHERE)
        ((q1, q3, mean, deviation),) = connection.execute(
            f"""SELECT quantile_cont({name}, 0.25), quantile_cont({name}, 0.75), avg({name}), stddev_samp({name})
            FROM (SELECT CAST({name} AS DOUBLE) AS {name} FROM ({rows}))"""
        ).fetchall()
        if q1 is None:
            continue
        if one.method == "iqr":
            width = one.factor * (q3 - q1)
            found.append(Fences(one, q1 - width, q3 + width))
        else:
            width = one.factor * (deviation or 0.0)
            found.append(Fences(one, mean - width, mean + width))
    return found


def fence_steps(fences: Sequence[Fences]) -> list[Step]:
    """Where outliers are clipped or emptied: counted as `clipped_<column>`, `emptied_<column>`."""
    steps = []
    for one in fences:
        name, beyond = one.wanted.column, outside(one.wanted.column, one.limits)
        if one.wanted.action == "clip":
            clipped = f"greatest({one.low!r}, least({one.high!r}, {name}))"
            steps.append(
                Step({name: f"CASE WHEN {beyond} THEN {clipped} ELSE {name} END"}, {f"clipped_{name}": beyond})
            )
        elif one.wanted.action == "empty":
            steps.append(Step({name: f"CASE WHEN NOT ({beyond}) THEN {name} END"}, {f"emptied_{name}": beyond}))
    return steps


def fence_rules(fences: Sequence[Fences]) -> list[Rule]:
    """Where outliers go to quarantine or are counted: `outlier_<column>`."""
    severities: dict[str, Literal["row", "warn"]] = {"quarantine": "row", "warn": "warn"}
    return [
        Rule(
            f"outlier_{one.wanted.column}",
            one.wanted.column,
            severities[one.wanted.action],
            outside(one.wanted.column, one.limits),
            "ExpectColumnValuesToBeBetween",
            one.limits,
            why=f"Within the fences ({one.wanted.method.replace('_', ' ')}, {one.wanted.factor:g}).",
        )
        for one in fences
        if one.wanted.action in severities
    ]
