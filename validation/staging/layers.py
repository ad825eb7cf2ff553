"""Raw parts as typed, repaired and marked rows, in SQL. Nothing is read here.

A staged row goes through four layers, each a projection over the one before, so that DuckDB runs them as one pass:

1. *read* (per part, `reading`): where the row came from, each contract column in its type, `<column>_unread` where a
   value does not read as its type, and, only computed where asked for, `<column>_text`, `source_row` and
   `source_position`.
2. *repaired*: the steps of `cleaning`, each of which changes columns and says which rows it touched.
3. *derived*: what rules need beside the contract's columns (`rules.derived`).
4. *marked* (`marks`): one bit for each rule that the row breaks, in `broken_0`, `broken_1`, ...; one for each kind of
   repair, in `repaired`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core import schema
from core.schema import TABLES, TableName

ATTRIBUTES = "attributes"  # of a user or an item, JSON text
WORDS = (schema.TITLE, schema.DESCRIPTION, schema.CATEGORY, schema.BRAND, schema.TEXT)


@dataclass(frozen=True)
class Step:
    """One repair of a table's rows.

    Attributes:
        columns: Column to SQL over the row as it stands before this step: replaces the column, or adds it.
        counted: Name to SQL, true for the rows that count as repaired in this way.
    """

    columns: Mapping[str, str]
    counted: Mapping[str, str] = field(default_factory=dict)


def repaired_sql(table: TableName, read: str, steps: Sequence[Step]) -> tuple[str, list[str]]:
    """Layer 2 over layer 1.

    Returns:
        The SQL, whose column `repaired` has bit i set where the ith kind of repair touched the row; and the kinds.
    """
    known = {ATTRIBUTES, *(column.name for column in TABLES[table].columns)}
    query = f"SELECT *, 0::BIGINT AS repaired FROM ({read})"
    kinds = list(dict.fromkeys(name for step in steps for name in step.counted))
    for step in steps:
        marks = "".join(
            f" | CASE WHEN {sql} THEN {1 << kinds.index(name)}::BIGINT ELSE 0::BIGINT END"
            for name, sql in step.counted.items()
        )
        replaced = [f"{sql} AS {name}" for name, sql in step.columns.items() if name in known]
        added = "".join(f", {sql} AS {name}" for name, sql in step.columns.items() if name not in known)
        known |= set(step.columns)
        query = f"SELECT * REPLACE ({', '.join([*replaced, f'repaired{marks} AS repaired'])}){added} FROM ({query})"
    return query, kinds


def derived_sql(repaired: str, columns: Mapping[str, str]) -> str:
    """Layer 3 over layer 2."""
    return f"SELECT *{''.join(f', {sql} AS {name}' for name, sql in columns.items())} FROM ({repaired})"
