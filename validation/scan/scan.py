"""What the scan of a table found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.schema import TableName
from validation.cleaning.floods import FloodFound
from validation.reading.dialect import Dialect
from validation.rules.rule import Rule
from validation.staging.marks import any_mark
from validation.staging.parts import StagedPart


@dataclass
class Scan:
    """What was found of one table; `staged_<table>` holds its rows.

    Attributes:
        parts: Where the rows come from.
        rules: In the order of their bits.
        kinds: Kinds of repair, in the order of theirs.
        derived: Part to SQL, to SQL of the rows up to layer 3.
        dialect: How the source writes the table's values.
        rows: Rows of the table, clean, quarantined and exact copies.
        rows_of_guests: Of the quarantined rows, those that lack a user and nothing else.
        rows_without_words: Of the quarantined rows, reviews that lack their text and nothing else.
        broken: Rule to the rows that break it, copies among them.
        checked: Rule to the rows that it applies to.
        cleaned: Kind of repair to rows.
        newest: Time of the newest clean event, seconds since 1970.
        due: Time of the first event that lies in the future, seconds since 1970.
        examples: Broken rule to some values that break it, safe to be shown in a page.
        floods: Floods and bots, the greatest first.
        rows_flooded: Of the quarantined rows, those of a flood or a bot.
    """

    table: TableName
    parts: list[StagedPart]
    rules: list[Rule]
    kinds: list[str]
    derived: Callable[[Callable[[StagedPart], str]], str]
    dialect: Dialect = field(default_factory=Dialect)
    rows_in: int = 0
    rows_clean: int = 0
    rows_quarantined: int = 0
    duplicates: int = 0
    rows_of_guests: int = 0
    rows_without_words: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    cleaned: dict[str, int] = field(default_factory=dict)
    newest: float | None = None
    due: float | None = None
    examples: dict[str, list[Any]] = field(default_factory=dict)
    floods: list[FloodFound] = field(default_factory=list)
    rows_flooded: int = 0

    @property
    def excluded(self) -> str:
        """SQL over a staged row: it is missing from the clean table."""
        return any_mark(self.rules, lambda rule: rule.removes)

    @property
    def copy(self) -> str:
        """SQL over a staged row: it repeats another row, and is left out."""
        return any_mark(self.rules, lambda rule: rule.severity == "copy")

    def breaks(self, rule: Rule) -> str:
        """SQL over a staged row: it breaks the rule."""
        if rule.mask or rule.removes:
            return any_mark(self.rules, lambda one: one.name == rule.name)
        return f"row_number IN (SELECT row_number FROM {found_table(self.table, rule.name)})"


def found_table(table: TableName, rule: str) -> str:
    """The temporary table with the numbers of the rows that break a rule which compares rows."""
    return f"found_{table}_{rule}"
