"""Rules on what a row says as a whole: nearly empty rows, events, review texts, titles of items."""

from __future__ import annotations

from collections.abc import Collection

from core import schema
from core.events import RATING_EVENT
from core.schema import EVENTS, TableName
from core.settings.validation import ValidationSettings
from validation.reading.values import LEFT_OUT
from validation.rules.derived import NEARLY_EMPTY_FROM, own_columns
from validation.rules.rule import Rule, outside

# What people write for an unknown value.
PLACEHOLDERS = ("-", "?", "n/a", "na", "nan", "nil", "none", "null", "undefined", "unknown")
EVENT_LEFT_OUT = "event_left_out"


READABLE = Rule(
    "row_readable",
    "source_error",
    "row",
    "source_error IS NOT NULL",
    "ExpectColumnValuesToBeNull",
    why="The source's row can be read.",
)
_TITLE_GIVEN = Rule(
    "title_given",
    schema.TITLE,
    "warn",
    "readable AND title IS NULL",
    "ExpectColumnValuesToNotBeNull",
    where_given="readable",
    applies_where="readable",
    shown="item_id",
    why="An item has a title.",
)


def nearly_empty_rules(table: TableName, mapped: Collection[str]) -> list[Rule]:
    """A row of events or reviews has more than one value; no rule where the source gives few columns.

    Args:
        mapped: The table's columns that the source gives.
    """
    own = own_columns(table, mapped)
    if len(own) < NEARLY_EMPTY_FROM:
        return []
    return [
        Rule(
            "row_nearly_empty",
            "given_columns",
            "row",
            "given_columns < 2",
            "ExpectColumnValuesToBeBetween",
            {"min_value": 2},
            applies_where="readable",
            why=f"A row has at least two of {', '.join(own)}.",
        )
    ]


def event_rules() -> list[Rule]:
    """Interactions: known events, and a value for ratings alone."""
    # Not NOT IN: DuckDB makes a join of it, which loses the rows' order.
    events = ", ".join(f"'{event}'" for event in EVENTS)
    return [
        Rule(
            "event_in_set",
            "event",
            "row",
            f"event IS NOT NULL AND event <> '{LEFT_OUT}' AND list_position([{events}], event) IS NULL",
            "ExpectColumnValuesToBeInSet",
            {"value_set": list(EVENTS)},
            why="An event of the contract.",
        ),
        Rule(
            EVENT_LEFT_OUT,
            "event",
            "copy",
            f"event = '{LEFT_OUT}'",
            "ExpectColumnValuesToNotBeInSet",
            {"value_set": [LEFT_OUT]},
            why="Events that the settings map to nothing are counted and left out.",
        ),
        Rule(
            "rating_has_value",
            "value_of_rating",
            "row",
            "is_rating_read AND value IS NULL",
            "ExpectColumnValuesToNotBeNull",
            where_given="is_rating_read",
            applies_where=f"event = '{RATING_EVENT}'",
            why="A rating has a value.",
        ),
        Rule(
            "value_of_rating_only",
            "value_elsewhere",
            "warn",
            "value_elsewhere IS NOT NULL",
            "ExpectColumnValuesToBeNull",
            why="Only ratings have a value; other values are dropped.",
        ),
    ]


def text_rules(settings: ValidationSettings) -> list[Rule]:
    """Reviews: texts read like words; warnings."""
    why = f"A review has at least {settings.min_text_chars} characters."
    long_enough = _at_least("text_long_enough", "text_chars", settings.min_text_chars, "text", why)
    why = f"At least {settings.min_letters_share:.0%} of a review's characters are letters."
    letters = _at_least("text_mostly_letters", "letters_share", settings.min_letters_share, "left(text, 200)", why)
    limits = ((long_enough, settings.min_text_chars), (letters, settings.min_letters_share))
    return [rule for rule, least in limits if least]


def _at_least(name: str, column: str, least: float, shown: str, why: str) -> Rule:
    expectation, arguments = "ExpectColumnValuesToBeBetween", {"min_value": least}
    mask = outside(column, arguments)
    return Rule(name, column, "warn", mask, expectation, arguments, "", "text IS NOT NULL", shown, why=why)


def item_rules() -> list[Rule]:
    """Items of a catalogue: a title, and no placeholders; warnings."""
    words = (schema.TITLE, schema.BRAND, schema.CATEGORY)
    return [_TITLE_GIVEN, *(_no_placeholder(name) for name in words)]


def _no_placeholder(name: str) -> Rule:
    words = ", ".join(f"'{word}'" for word in PLACEHOLDERS)
    return Rule(
        f"{name}_is_no_placeholder",
        f"{name}_folded",
        "warn",
        f"{name}_folded IN ({words})",
        "ExpectColumnValuesToNotBeInSet",
        {"value_set": list(PLACEHOLDERS)},
        applies_where=f"{name} IS NOT NULL",
        why=f"A {name} is not a placeholder such as 'n/a'; an unknown one is better left empty.",
    )
