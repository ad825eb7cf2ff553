"""One rule on the rows of a table: one record, read by two sides.

DuckDB finds the rows that break it (`scan`), all rules in one pass; Great Expectations checks the counts (`suites`)
against the expectation, the arguments and the share that stand here. Both speak of the same columns: those of a staged
row (see `staging`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.settings.validation import Severity


@dataclass(frozen=True)
class Rule:
    """One rule on the rows of a table.

    Attributes:
        name: Stands in quarantine, summary and Data Docs.
        column: The column that the expectation is about.
        severity: "row": a row that breaks it goes to quarantine. "table": the flow stops. "warn": it is counted only.
            "copy": the row is left out and counted: it is not bad, but repeats what another row says.
        mask: SQL over a derived row, true where the rule is broken; "" where rows have to be compared with each other,
            which happens after the pass over the rows.
        expectation: Name of the Great Expectations class, and its arguments but for the column.
        where_given: The rule holds only for rows in which this column is not null; "" for all rows.
        applies_where: SQL over a staged row, true where there is something to check; "": where the column is not null.
        shown: SQL for the example values of the Data Docs; "" for the column.
        max_share: For "table" and "warn": the share of the rows it applies to that may break it.
        why: One sentence for the Data Docs.
    """

    name: str
    column: str
    severity: Severity | Literal["copy"]
    mask: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where_given: str = ""
    applies_where: str = ""
    shown: str = ""
    max_share: float = 0.0
    why: str = ""

    @property
    def removes(self) -> bool:
        """Whether a row that breaks it is missing from the clean table."""
        return self.severity in ("row", "copy")


def comparing_rule(name: str, severity: Severity | Literal["copy"], why: str, shown: str, **more: Any) -> Rule:
    """A rule whose rows are found by comparing them. Its column, of the rule's name, says whether a row meets it."""
    more = {"applies_where": "true", "shown": shown, "why": why, **more}
    return Rule(name, name, severity, "", "ExpectColumnValuesToBeInSet", {"value_set": [True]}, **more)


def outside(column: str, limits: Mapping[str, Any]) -> str:
    """SQL, true where a column lies outside `min_value` to `max_value`."""
    low = f"{column} < {limits['min_value']!r}" if limits.get("min_value") is not None else ""
    high = f"{column} > {limits['max_value']!r}" if limits.get("max_value") is not None else ""
    return " OR ".join(part for part in (low, high) if part)
