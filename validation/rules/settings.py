"""What the settings of rules and cleaning name: the columns of the contract, and the error where they do not fit."""

from __future__ import annotations

from core.schema import TABLES, Column, TableName
from validation.errors import RuleError


def find_column(table: TableName, name: str, where: str) -> Column:
    """A column of the contract that the settings name.

    Raises:
        RuleError: the table has no such column.
    """
    for column in TABLES[table].columns:
        if column.name == name:
            return column
    known = ", ".join(column.name for column in TABLES[table].columns)
    raise rule_error(f"column={name!r}", f"one of {known}", where)


def rule_error(got: str, expected: str, where: str) -> RuleError:
    """The error of a rule or a cleaning step that cannot be built as the settings describe it."""
    return RuleError("Cannot build rules", got=got, expected=expected, where=where, do="Correct the settings")
