"""The contract's rules on the rows of a table: those on values, those on rows, and those that compare rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from core import schema
from core.schema import TABLES, TableName
from core.settings.validation import ValidationSettings
from validation.rules.rows import READABLE, event_rules, item_rules, nearly_empty_rules, text_rules
from validation.rules.rule import Rule, comparing_rule
from validation.rules.values import value_rules

_COPY = (
    "The same row again: of the source; of the service's event log, which the source exports too; or readmitted, while "
    "the source has corrected it. Counted and left out."
)
EXACT_DUPLICATE = "exact_duplicate"
KEY_UNIQUE = "key_unique"
TITLE_UNIQUE = "title_unique"
REPEATED = "repeated"
RATING_ON_SCALE = "rating_on_scale"
# The column of ratings.
RATED: Mapping[TableName, str] = {"interactions": schema.VALUE, "feedback": schema.RATING}


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
        provided: Tables that the source has of its own; references are checked against these only.
        mapped: The table's columns that the source gives.
        now: No event may be later.
        lines: The rows are lines of orders or reviews, which repeat the same users or items.
    """
    rules = [READABLE, *nearly_empty_rules(table, mapped)]
    for column in TABLES[table].columns:
        rules += value_rules(column, settings, now)
    if table in ("interactions", "feedback"):
        rules += [_known(schema.USER_ID, "users")] if "users" in provided else []
        rules += [_known(schema.ITEM_ID, "items")] if "items" in provided else []
    if table == "interactions":
        rules += event_rules()
    if table == "feedback":
        rules += text_rules(settings)
    if table == "items" and "items" in provided:
        rules += item_rules()
    if table in RATED and RATED[table] in mapped and settings.cleaning.rating_scale is None:
        rules.append(_on_scale(RATED[table]))
    return [*rules, *_comparing_rules(table, mapped, lines)]


def _known(column: str, table: TableName) -> Rule:
    why = f"The source's own table of {table} has this id."
    return comparing_rule(f"{column}_known", "row", why, column, applies_where=f"{column} IS NOT NULL")


def _on_scale(column: str) -> Rule:
    why = "Ratings are on a scale of 1 to 5; another one is named in recipe.validation.cleaning.rating_scale."
    return comparing_rule(RATING_ON_SCALE, "table", why, column, applies_where=f"{column} IS NOT NULL")


def _comparing_rules(table: TableName, mapped: Collection[str], lines: bool) -> list[Rule]:
    """Rules found by comparing rows; `scan.comparing` knows how."""
    key = " / ".join(TABLES[table].key)
    shown = f"concat_ws(' / ', {', '.join(TABLES[table].key)})"
    rules = [
        comparing_rule(EXACT_DUPLICATE, "copy", _COPY, shown),
        comparing_rule(KEY_UNIQUE, "row", f"No two rows share {key}; the first good one stays.", shown),
    ]
    if lines:
        why = f"Lines, or what clients say, repeat the same {key}; the newest value of each column counts."
        rules.append(comparing_rule(REPEATED, "copy", why, shown))
    if table == "interactions" and schema.POSITION in mapped:
        why = "A user's events in the order of their position are in the order of their time."
        rules.append(comparing_rule("time_in_order", "warn", why, "concat_ws(' / ', user_id, position, timestamp)"))
    if table == "items" and schema.TITLE in mapped:
        why = "No two items share a title: people cannot tell them apart."
        rules.append(comparing_rule(TITLE_UNIQUE, "warn", why, schema.TITLE, applies_where="title IS NOT NULL"))
    return rules
