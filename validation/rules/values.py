"""Rules on single values: given, readable as their type, short enough, in range."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pyarrow as pa

from core import schema
from core.events import BROKEN_ID_CHARS, CLOCK_SKEW, INTACT_ID, RATING_EVENT
from core.schema import MAX_ID_CHARS, RATING_RANGE, TIME, Column
from core.settings.validation import Severity, ValidationSettings
from validation.reading.values import IDS
from validation.rules.rule import Rule, outside

# The price as it was read, before one that cannot be is emptied.
PRICE_WRITTEN = "price_written"


def value_rules(column: Column, settings: ValidationSettings, now: datetime) -> list[Rule]:
    """The rules on one column of the contract.

    Args:
        now: No event may be later.
    """
    name = column.name
    rules = []
    if column.required:
        unread = f" AND {name}_unread IS NULL" if column.type != pa.string() else ""
        given = f"{name}_read" if unread else "readable"
        rules.append(
            Rule(
                f"{name}_required",
                name,
                "row",
                f"readable AND {name} IS NULL{unread}",
                "ExpectColumnValuesToNotBeNull",
                where_given=given,
                applies_where="readable",
                why=f"{column.meaning} Never empty.",
            )
        )
    if column.type != pa.string():
        rules.append(_parses(column))
    if name in IDS:
        rules += [_short_id(name), _intact_id(name)]
    bounds = _bounds(column, settings, now)
    if bounds is not None:
        column_name, arguments, why = bounds
        rules.append(
            Rule(
                f"{name}_in_range",
                column_name,
                "warn" if name == schema.PRICE else "row",
                outside(column_name, arguments),
                "ExpectColumnValuesToBeBetween",
                arguments,
                applies_where="" if name == schema.PRICE else f"{name} IS NOT NULL",
                shown=f"{name}_text" if column.type == TIME else "",
                why=why,
            )
        )
    return rules


def event_limits(settings: ValidationSettings, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last moment that an event may be of."""
    return datetime.combine(settings.earliest, time(), UTC), now + CLOCK_SKEW


def unread_is_bad(column: Column) -> bool:
    """Whether a value that does not read as its type makes the row bad; if not, the value is emptied."""
    return column.type != pa.string() and (column.required or column.name in (schema.VALUE, schema.POSITION))


def _parses(column: Column) -> Rule:
    """An unreadable value sends its row to quarantine only where the row is useless without it; else it is emptied."""
    name, kind = column.name, "time" if column.type == TIME else "number"
    kind = "whole number" if column.type == pa.int64() else kind
    unread, row = f"{name}_unread IS NOT NULL", unread_is_bad(column)
    if name == schema.VALUE:
        unread = f"{unread} AND event = '{RATING_EVENT}'"
    why = f"Reads as a {kind}." + ("" if row else " A value that does not is emptied.")
    severity: Severity = "row" if row else "warn"
    return Rule(f"{name}_parses", f"{name}_unread", severity, unread, "ExpectColumnValuesToBeNull", why=why)


def _short_id(name: str) -> Rule:
    return Rule(
        f"{name}_short_enough",
        name,
        "row",
        f"length({name}) > {MAX_ID_CHARS}",
        "ExpectColumnValueLengthsToBeBetween",
        {"max_value": MAX_ID_CHARS},
        shown=f"left({name}, 100)",
        why=f"An id has at most {MAX_ID_CHARS} characters.",
    )


def _intact_id(name: str) -> Rule:
    broken = " OR ".join(f"contains({name}, chr({ord(char)}))" for char in BROKEN_ID_CHARS)
    return Rule(
        f"{name}_intact",
        name,
        "row",
        broken,
        "ExpectColumnValuesToMatchRegex",
        {"regex": INTACT_ID},
        shown=f"replace({name}, chr(0), chr({ord(BROKEN_ID_CHARS[1])}))",
        why="An id has no NUL, which databases cannot keep, and no U+FFFD, which stands for unreadable bytes.",
    )


def _bounds(column: Column, settings: ValidationSettings, now: datetime) -> tuple[str, dict[str, Any], str] | None:
    """Column, limits and reason of a range rule, if the column has one."""
    low, high = RATING_RANGE
    match column.name:
        case schema.RATING | schema.VALUE:
            return column.name, {"min_value": low, "max_value": high}, "A rating lies between 1 and 5."
        case schema.PRICE:
            return PRICE_WRITTEN, {"min_value": 0.0}, "A price is not negative; a negative one is emptied."
        case schema.TIMESTAMP:
            earliest, latest = event_limits(settings, now)
            return (
                "timestamp_s",
                {"min_value": earliest.timestamp(), "max_value": latest.timestamp()},
                f"Between {earliest:%Y-%m-%d} and {latest:%Y-%m-%d %H:%M} UTC, as seconds since 1970.",
            )
        case schema.TEXT:
            return "text_chars", {"max_value": settings.max_text_chars}, "Length of the text in characters."
    return None
