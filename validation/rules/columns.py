"""The columns of the contract that settings name."""

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
    raise RuleError(
        "Cannot build rules", got=f"column={name!r}", expected=f"one of {known}", where=where, do="Mend the settings"
    )
