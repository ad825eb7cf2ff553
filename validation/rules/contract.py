"""The rules that every row must meet, built from the contract. One record per rule, read by two sides.

DuckDB finds the rows that break it (`scan`), all rules in one pass; Great Expectations judges the counts (`suites`),
under the expectation, the arguments and the share that stand here. Both speak of the same columns: those of a *judged*
row (see `staging`): the contract's columns typed and mended, `<column>_unread` (the text of a value that does not read
as its type), and what `derived_columns` adds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any, Literal

import pyarrow as pa

from core import schema
from core.schema import EVENTS, MAX_ID_CHARS, RATING_RANGE, TABLES, TIME, Column, TableName
from core.settings.validation import Severity, ValidationSettings
from validation.reading.values import IDS, LEFT_OUT

EXACT_DUPLICATE = "exact_duplicate"
KEY_UNIQUE = "key_unique"
TITLE_UNIQUE = "title_unique"
REPEATED = "repeated"
EVENT_LEFT_OUT = "event_left_out"
RATING_ON_SCALE = "rating_on_scale"
# The price as it was read, before one that cannot be is emptied.
PRICE_WRITTEN = "price_written"
# What people write where nothing is known.
PLACEHOLDERS = ("-", "?", "n/a", "na", "nan", "nil", "none", "null", "undefined", "unknown")
NEARLY_EMPTY_FROM = 3  # a table with fewer columns of its own in the source has no nearly empty rows
_LETTER = "[A-Za-z\\x{00aa}-\\x{024f}\\x{0370}-\\x{1fff}\\x{2c00}-\\x{d7ff}\\x{f900}-\\x{ffdc}]"


# Where ratings stand.
RATED: Mapping[TableName, str] = {"interactions": schema.VALUE, "feedback": schema.RATING}


@dataclass(frozen=True)
class Rule:
    """One rule on the rows of a table.

    Attributes:
        name: Stands in quarantine, summary and Data Docs.
        column: The column that the expectation is about.
        severity: "row": a row that breaks it goes to quarantine. "table": the flow stops. "warn": it is counted only.
            "copy": the row is left out and counted: it is no bad row, but tells nothing that others do not.
        mask: SQL over a judged row, true where the rule is broken; "" where rows have to be compared with each other:
            those rules are found after the scan.
        expectation: Name of the Great Expectations class, and its arguments but for the column.
        where_given: The rule holds only for rows in which this column is not null; "" for all rows.
        looked: SQL over a staged row: the rule has something to look at. "" where the column is not null.
        shown: SQL for the example values of the Data Docs; "" for the column.
        max_share: Share of the rows looked at that may break it, for "table" and "warn".
        why: One sentence for the Data Docs.
    """

    name: str
    column: str
    severity: Severity | Literal["copy"]
    mask: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where_given: str = ""
    looked: str = ""
    shown: str = ""
    max_share: float = 0.0
    why: str = ""

    @property
    def removes(self) -> bool:
        """Whether a row that breaks it is missing from the clean table."""
        return self.severity in ("row", "copy")


def late_rule(name: str, severity: Severity | Literal["copy"], why: str, shown: str, **more: Any) -> Rule:
    """A rule that is found by comparing rows. Its column, named as the rule, tells of each row whether it is met."""
    more = {"looked": "true", "shown": shown, "why": why, **more}
    return Rule(name, name, severity, "", "ExpectColumnValuesToBeInSet", {"value_set": [True]}, **more)


def build_rules(
    table: TableName,
    settings: ValidationSettings,
    provided: Collection[TableName],
    mapped: Collection[str],
    now: datetime,
    lines: bool = False,
) -> list[Rule]:
    """The contract's rules on the rows of a table.

    Args:
        lines: The table's rows are told in the lines of another one, again and again.
        provided: Tables that the source has of its own; references are checked against these only.
        mapped: The table's columns that the source gives.
        now: No event may be later.
    """
    rules = [
        Rule(
            "row_readable",
            "source_error",
            "row",
            "source_error IS NOT NULL",
            "ExpectColumnValuesToBeNull",
            why="The source's row can be read.",
        )
    ]
    rules += _nearly_empty(table, mapped)
    for column in TABLES[table].columns:
        rules += _column_rules(column, settings, now)
    if table in ("interactions", "feedback"):
        rules += [_known(schema.USER_ID, "users")] if "users" in provided else []
        rules += [_known(schema.ITEM_ID, "items")] if "items" in provided else []
    if table == "interactions":
        rules += _event_rules()
    if table == "feedback":
        rules += _text_rules(settings)
    if table == "items" and "items" in provided:
        rules += [_title_given(), *(_not_a_placeholder(name) for name in (schema.TITLE, schema.BRAND, schema.CATEGORY))]
    if table in RATED and RATED[table] in mapped and settings.cleaning.rating_scale is None:
        why = "Ratings are on a scale of 1 to 5; another one is named in validation.cleaning.rating_scale."
        rules.append(late_rule(RATING_ON_SCALE, "table", why, RATED[table], looked=f"{RATED[table]} IS NOT NULL"))
    return [*rules, *_late_rules(table, mapped, lines)]


def own_columns(table: TableName, mapped: Collection[str]) -> list[str]:
    """The columns of an event or a review that say something of their own, if the source gives them."""
    if table not in ("interactions", "feedback"):
        return []
    names = (schema.USER_ID, schema.ITEM_ID, schema.VALUE, schema.RATING, schema.TEXT, schema.TIMESTAMP)
    return [name for name in names if name in mapped and name in TABLES[table].arrow().names]


def derived_columns(table: TableName, mapped: Collection[str]) -> dict[str, str]:
    """Columns that rules need beside the contract's: name to SQL over a mended row."""
    columns = {
        f"{column.name}_read": f"CASE WHEN readable AND {column.name}_unread IS NULL THEN true END"
        for column in TABLES[table].columns
        if column.type != pa.string()
    }
    if table == "items":
        columns |= {f"{name}_folded": f"lower({name})" for name in (schema.TITLE, schema.BRAND, schema.CATEGORY)}
    own = own_columns(table, mapped)
    if len(own) >= NEARLY_EMPTY_FROM:
        unread = {column.name for column in TABLES[table].columns if column.type != pa.string()}
        given = (f"{name} IS NOT NULL" + (f" OR {name}_unread IS NOT NULL" if name in unread else "") for name in own)
        counted = " + ".join(f"CAST({one} AS TINYINT)" for one in given)
        columns["given_columns"] = f"CASE WHEN readable THEN {counted} END"
    if table in ("interactions", "feedback"):
        columns["timestamp_s"] = "epoch_us(timestamp) / 1e6"
    if table == "interactions":
        columns["is_rating_read"] = "CASE WHEN event = 'rating' AND value_unread IS NULL THEN true END"
        columns["value_of_rating"] = "CASE WHEN event = 'rating' THEN value END"
        columns["value_elsewhere"] = "CASE WHEN event <> 'rating' THEN value END"
    if table == "feedback":
        columns["text_chars"] = "length(text)"
        letters = f"length(regexp_replace(text, '[^{_LETTER[1:]}', '', 'g'))"
        columns["letters_share"] = f"{letters} / greatest(1, length(regexp_replace(text, '\\s', '', 'g')))"
    return columns


def _nearly_empty(table: TableName, mapped: Collection[str]) -> list[Rule]:
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
            looked="readable",
            why=f"A row tells more than one of {', '.join(own)}.",
        )
    ]


def _column_rules(column: Column, settings: ValidationSettings, now: datetime) -> list[Rule]:
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
                looked="readable",
                why=f"{column.meaning} Never empty.",
            )
        )
    if column.type != pa.string():
        rules.append(_parses(column))
    if name in IDS:
        rules.append(_short_id(name))
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
                looked="" if name == schema.PRICE else f"{name} IS NOT NULL",
                shown=f"{name}_text" if column.type == TIME else "",
                why=why,
            )
        )
    return rules


def unread_is_bad(column: Column) -> bool:
    """Whether a value that does not read as its type makes a bad row; else it is emptied."""
    return column.type != pa.string() and (column.required or column.name == schema.VALUE)


def _parses(column: Column) -> Rule:
    """A value that does not read costs its row only where the row says nothing without it; else it is emptied."""
    name, kind = column.name, "time" if column.type == TIME else "number"
    unread, row = f"{name}_unread IS NOT NULL", unread_is_bad(column)
    if name == schema.VALUE:
        unread = f"{unread} AND event = 'rating'"
    why = f"Reads as a {kind}." + ("" if row else " One that does not is emptied.")
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


def _bounds(column: Column, settings: ValidationSettings, now: datetime) -> tuple[str, dict[str, Any], str] | None:
    """Column, limits and reason of a range rule, if the column has one."""
    low, high = RATING_RANGE
    match column.name:
        case schema.RATING | schema.VALUE:
            return column.name, {"min_value": low, "max_value": high}, "A rating lies between 1 and 5."
        case schema.PRICE:
            return PRICE_WRITTEN, {"min_value": 0.0}, "A price is not negative; one that is, is emptied."
        case schema.TIMESTAMP:
            earliest = datetime.combine(settings.earliest, time(), UTC)
            return (
                "timestamp_s",
                {"min_value": earliest.timestamp(), "max_value": now.timestamp()},
                (f"Between {earliest:%Y-%m-%d} and {now:%Y-%m-%d %H:%M} UTC, as seconds since 1970."),
            )
        case schema.TEXT:
            return "text_chars", {"max_value": settings.max_text_chars}, "A text is not endless, in characters."
    return None


def outside(column: str, limits: Mapping[str, Any]) -> str:
    """SQL, true where a column lies outside `min_value` to `max_value`."""
    low = f"{column} < {limits['min_value']!r}" if limits.get("min_value") is not None else ""
    high = f"{column} > {limits['max_value']!r}" if limits.get("max_value") is not None else ""
    return " OR ".join(part for part in (low, high) if part)


def _known(column: str, table: TableName) -> Rule:
    why = f"The source's own table of {table} has this id."
    return late_rule(f"{column}_known", "row", why, column, looked=f"{column} IS NOT NULL")


def _event_rules() -> list[Rule]:
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
            why="An event that the contract knows.",
        ),
        Rule(
            EVENT_LEFT_OUT,
            "event",
            "copy",
            f"event = '{LEFT_OUT}'",
            "ExpectColumnValuesToNotBeInSet",
            {"value_set": [LEFT_OUT]},
            why="An event that the settings do not map to nothing; one that they do is counted and left out.",
        ),
        Rule(
            "rating_has_value",
            "value_of_rating",
            "row",
            "is_rating_read AND value IS NULL",
            "ExpectColumnValuesToNotBeNull",
            where_given="is_rating_read",
            looked="event = 'rating'",
            why="A rating without a value says nothing.",
        ),
        Rule(
            "value_of_rating_only",
            "value_elsewhere",
            "warn",
            "value_elsewhere IS NOT NULL",
            "ExpectColumnValuesToBeNull",
            why="Only ratings carry a value; others are dropped.",
        ),
    ]


def _text_rules(settings: ValidationSettings) -> list[Rule]:
    """A review reads like words: warnings."""
    rules = []
    if settings.min_text_chars:
        rules.append(
            Rule(
                "text_long_enough",
                "text_chars",
                "warn",
                f"text_chars < {settings.min_text_chars}",
                "ExpectColumnValuesToBeBetween",
                {"min_value": settings.min_text_chars},
                looked="text IS NOT NULL",
                shown="text",
                why=f"A review has at least {settings.min_text_chars} characters.",
            )
        )
    if settings.min_letters_share:
        rules.append(
            Rule(
                "text_mostly_letters",
                "letters_share",
                "warn",
                f"letters_share < {settings.min_letters_share!r}",
                "ExpectColumnValuesToBeBetween",
                {"min_value": settings.min_letters_share},
                looked="text IS NOT NULL",
                shown="left(text, 200)",
                why=f"At least {settings.min_letters_share:.0%} of a review's characters are letters.",
            )
        )
    return rules


def _title_given() -> Rule:
    return Rule(
        "title_given",
        schema.TITLE,
        "warn",
        "readable AND title IS NULL",
        "ExpectColumnValuesToNotBeNull",
        where_given="readable",
        looked="readable",
        shown="item_id",
        why="An item without a title is hard to tell.",
    )


def _not_a_placeholder(name: str) -> Rule:
    words = ", ".join(f"'{word}'" for word in PLACEHOLDERS)
    return Rule(
        f"{name}_is_no_placeholder",
        f"{name}_folded",
        "warn",
        f"{name}_folded IN ({words})",
        "ExpectColumnValuesToNotBeInSet",
        {"value_set": list(PLACEHOLDERS)},
        looked=f"{name} IS NOT NULL",
        why=f"A {name} that says it is not known is better left empty.",
    )


def _late_rules(table: TableName, mapped: Collection[str], lines: bool) -> list[Rule]:
    key = " / ".join(TABLES[table].key)
    shown = f"concat_ws(' / ', {', '.join(TABLES[table].key)})"
    rules = [
        late_rule(EXACT_DUPLICATE, "copy", "The same row of the source a second time; counted and left out.", shown),
        late_rule(KEY_UNIQUE, "row", f"No two rows share {key}; the first good one stays.", shown),
    ]
    if lines:
        why = f"Lines tell of the same {key} again; the newest value of each column counts."
        rules.append(late_rule(REPEATED, "copy", why, shown))
    if table == "interactions" and schema.POSITION in mapped:
        why = "A user's events in the order of their position are in the order of their time."
        rules.append(late_rule("time_in_order", "warn", why, "concat_ws(' / ', user_id, position, timestamp)"))
    if table == "items" and schema.TITLE in mapped:
        why = "No two items share a title: people cannot tell them apart."
        rules.append(late_rule(TITLE_UNIQUE, "warn", why, schema.TITLE, looked="title IS NOT NULL"))
    return rules
