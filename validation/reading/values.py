"""A source's value as a value of the contract, in SQL, by the source's type and its dialect.

A value that does not read as its column's type is null here; the rules name it (`<column>_parses`).
"""

from __future__ import annotations

from core import schema
from core.events import BLANKS, WRAPPED
from core.schema import TIME, Column
from core.sql import literal
from validation.reading.dialect import Dialect
from validation.reading.numbers import number_sql
from validation.reading.times import LEAST_EPOCH_S, time_sql

IDS = (schema.USER_ID, schema.ITEM_ID, schema.EVENT_ID)
LEFT_OUT = "(left out)"  # an event that the settings map to nothing


def text_sql(expression: str, type_: str, dialect: Dialect, *, is_id: bool = False) -> str:
    """The value as text, trimmed; null where it is blank or a null word.

    Args:
        is_id: White space of all kinds is trimmed, as `core.events.canonical_id` does.
    """
    text = expression if type_ == "VARCHAR" else f"CAST({expression} AS VARCHAR)"
    text = _trimmed_sql(text, is_id)
    text = unwrapped_sql(text, is_id=is_id) if type_ == "VARCHAR" else text
    nothing = ", ".join(map(literal, ["", *filter(str.strip, dialect.null_words)]))
    return once_sql(text, "word", f"CASE WHEN list_contains([{nothing}], word) THEN NULL ELSE word END")


def _trimmed_sql(text: str, is_id: bool) -> str:
    if not is_id:
        return f"trim({text})"
    # DuckDB's trim with characters of our own takes long: only where the first or the last may be one of them.
    odd = "left(said, 1) < '!' OR right(said, 1) < '!' OR length(said) <> strlen(said)"
    return once_sql(text, "said", f"CASE WHEN {odd} THEN trim(said, {literal(BLANKS)}) ELSE said END")


def once_sql(expression: str, name: str, body: str) -> str:
    """SQL over the value of an expression, which stands in the query once, however often `body` names it.

    DuckDB binds and plans each copy of an expression: with some columns, each within the next, that took longer than
    reading a small table.
    """
    return f"list_transform([{expression}], lambda {name}: {body})[1]"


def unwrapped_sql(text: str, *, is_id: bool = False) -> str:
    """A text, of MongoDB's {"$oid": "…"}, {"$date": "…"} and the like what is inside."""
    inside = _trimmed_sql(f"regexp_extract(wrapped, {literal(WRAPPED)}, 1)", is_id)
    inside = f"coalesce(nullif({inside}, ''), wrapped)"
    return once_sql(text, "wrapped", f"CASE WHEN starts_with(wrapped, '{{') THEN {inside} ELSE wrapped END")


def id_sql(text: str) -> str:
    """An id that was a whole number: 17850 and not 17850.0."""
    decimal = "contains(id, '.0') AND regexp_full_match(id, '-?\\d+\\.0+')"
    return once_sql(text, "id", f"CASE WHEN {decimal} THEN split_part(id, '.', 1) ELSE id END")


def mapped_sql(column: str, text: str, dialect: Dialect) -> str:
    """The value that the settings put in its place, if they name it; -1 and -1.0 are one value."""
    mapped = dialect.values.get(column)
    if not mapped:
        return text
    nothing = literal(LEFT_OUT) if column == schema.EVENT else "NULL"
    cases = " ".join(
        f"WHEN {literal(own)} THEN {literal(wanted) if wanted.strip() else nothing}" for own, wanted in mapped.items()
    )
    return once_sql(text, "own", once_sql(f"lower({id_sql('own')})", "key", f"CASE key {cases} ELSE own END"))


def typed_sql(column: Column, value: str, type_: str, dialect: Dialect) -> str:
    """The value in the column's type, null where it does not read so.

    Args:
        value: An expression: the text as `text_sql` gives it where `type_` is VARCHAR, else the value as the source
            has it.
        type_: DuckDB's name of the source's type.
    """
    bare = type_.split("(")[0]
    if column.type == TIME:
        # When an event may have been is a rule's to say (validation.earliest).
        return time_sql(value, bare, dialect, 0 if column.name == schema.TIMESTAMP else LEAST_EPOCH_S)
    return number_sql(column, value, bare, dialect.decimal_comma, dialect.best_rating)
