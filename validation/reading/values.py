"""A source's value as a value of the contract, in SQL, by the source's type and its dialect.

A value that does not read as its column's type is null here; the rules name it (`<column>_parses`).
"""

from __future__ import annotations

from core import schema
from core.events import WRAPPED
from core.schema import TIME, Column
from core.sql import literal
from validation.reading.dialect import Dialect
from validation.reading.numbers import number_sql
from validation.reading.times import time_sql

IDS = (schema.USER_ID, schema.ITEM_ID, schema.EVENT_ID)
LEFT_OUT = "(left out)"  # an event that the settings map to nothing


def text_sql(expression: str, type_: str, dialect: Dialect) -> str:
    """The value as text, trimmed; null where it is blank or a null word."""
    text = f"trim({expression if type_ == 'VARCHAR' else f'CAST({expression} AS VARCHAR)'})"
    text = unwrapped_sql(text) if type_ == "VARCHAR" else text
    nothing = " ".join(f"WHEN {literal(word)} THEN NULL" for word in dialect.null_words if word.strip())
    return f"CASE {text} WHEN '' THEN NULL {nothing} ELSE {text} END"


def unwrapped_sql(text: str) -> str:
    """A text, of MongoDB's {"$oid": "…"}, {"$date": "…"} and the like what is inside."""
    inside = f"trim(regexp_extract({text}, {literal(WRAPPED)}, 1))"
    return f"CASE WHEN starts_with({text}, '{{') THEN coalesce(nullif({inside}, ''), {text}) ELSE {text} END"


def id_sql(text: str) -> str:
    """An id that was a whole number: 17850 and not 17850.0."""
    decimal = f"contains({text}, '.0') AND regexp_full_match({text}, '-?\\d+\\.0+')"
    return f"CASE WHEN {decimal} THEN split_part({text}, '.', 1) ELSE {text} END"


def mapped_sql(column: str, text: str, dialect: Dialect) -> str:
    """The value that the settings put in its place, if they name it; -1 and -1.0 are one value."""
    mapped = dialect.values.get(column)
    if not mapped:
        return text
    nothing = literal(LEFT_OUT) if column == schema.EVENT else "NULL"
    cases = " ".join(
        f"WHEN {literal(own)} THEN {literal(wanted) if wanted.strip() else nothing}" for own, wanted in mapped.items()
    )
    return f"CASE lower({id_sql(f'({text})')}) {cases} ELSE {text} END"


def typed_sql(column: Column, value: str, type_: str, dialect: Dialect) -> str:
    """The value in the column's type, null where it does not read so.

    Args:
        value: An expression: the text as `text_sql` gives it where `type_` is VARCHAR, else the value as the source
            has it.
        type_: DuckDB's name of the source's type.
    """
    bare = type_.split("(")[0]
    if column.type == TIME:
        return time_sql(value, bare, dialect)
    return number_sql(column, value, bare, dialect.decimal_comma, dialect.best_rating)
