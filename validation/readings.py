"""How a source's value reads as a value of the contract: SQL for times, numbers and money, by the source's type.

A value that does not read as its column's type is null here; the rules name it (`<column>_parses`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from recommender import schema
from recommender.schema import TIME, Column

_NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
            "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
_MONEY = r"[$€£₹]?\s*\d{1,3}(,\d{2,3})*(\.\d+)?|[$€£₹]\s*\d+(\.\d+)?"
_MONEY_COMMA = r"[$€£₹]?\s*\d{1,3}(\.\d{3})*(,\d+)?|[$€£₹]?\s*\d+(,\d+)?"


@dataclass(frozen=True)
class Dialect:
    """What a source's values look like where the type alone does not tell.

    Attributes:
        date_formats: strptime forms, tried in order after ISO 8601 and numbers.
        decimal_comma: Prices are written 1.299,00.
    """

    date_formats: Sequence[str] = ()
    decimal_comma: bool = False


def text_sql(expression: str, type_: str) -> str:
    """The value as text, null where it is blank; the text as it came where it is words."""
    text = expression if type_ == "VARCHAR" else f"CAST({expression} AS VARCHAR)"
    return f"nullif(trim({text}), '')"


def typed_sql(column: Column, value: str, type_: str, dialect: Dialect) -> str:
    """The value in the column's type, null where it does not read so.

    Args:
        value: An expression: the trimmed text where `type_` is VARCHAR, else the value as the source has it.
        type_: DuckDB's name of the source's type.
    """
    bare = type_.split("(")[0]
    if column.type == TIME:
        return _time_sql(value, bare, dialect.date_formats)
    if bare not in _NUMERIC:
        value = value if bare == "VARCHAR" else f"CAST({value} AS VARCHAR)"
        if column.name == schema.PRICE:
            return _money_sql(value, dialect.decimal_comma)
    if column.type == pa.int64():
        return f"coalesce(TRY_CAST({value} AS BIGINT), TRY_CAST({_finite_sql(value, bare)} AS BIGINT))"
    return _finite_sql(value, bare)


def iso_or_number_sql(value: str) -> str:
    """A time written in ISO 8601 (UTC where it names no zone), or as a number whose size tells its unit."""
    return f"coalesce(TRY_CAST({value} AS TIMESTAMPTZ), {_epoch_sql(f'TRY_CAST({value} AS DOUBLE)')})"


def _finite_sql(value: str, type_: str) -> str:
    """A number, null for "nan", "inf", "1_000" and whatever else is none."""
    number = f"TRY_CAST({value} AS DOUBLE)"
    plain = "" if type_ in _NUMERIC else f" AND NOT contains({value}, '_')"
    return f"CASE WHEN isfinite({number}){plain} THEN {number} END"


def _money_sql(text: str, decimal_comma: bool) -> str:
    """ "$1,299.00" is a price as much as 1299 is."""
    if decimal_comma:
        bare = f"replace(regexp_replace({text}, '[$€£₹.\\s]', '', 'g'), ',', '.')"
        return f"CASE WHEN regexp_full_match({text}, '{_MONEY_COMMA}') THEN TRY_CAST({bare} AS DOUBLE) END"
    bare = f"regexp_replace({text}, '[$€£₹,\\s]', '', 'g')"
    money = f"CASE WHEN regexp_full_match({text}, '{_MONEY}') THEN TRY_CAST({bare} AS DOUBLE) END"
    return f"coalesce({_finite_sql(text, 'VARCHAR')}, {money})"


def _time_sql(value: str, type_: str, date_formats: Sequence[str]) -> str:
    if type_ == "TIMESTAMP WITH TIME ZONE":
        moment = value
    elif type_ == "DATE" or type_.startswith("TIMESTAMP"):
        moment = f"CAST({value} AS TIMESTAMPTZ)"  # the connection's zone is UTC
    elif type_ in _NUMERIC:
        return _epoch_sql(f"CAST({value} AS DOUBLE)")
    else:
        moment = iso_or_number_sql(value if type_ == "VARCHAR" else f"CAST({value} AS VARCHAR)")
        if date_formats:
            forms = ", ".join(literal(form) for form in date_formats)
            moment = f"coalesce({moment}, CAST(try_strptime({value}, [{forms}]) AS TIMESTAMPTZ))"
    return f"CASE WHEN isfinite({moment}) THEN {moment} END"


def _epoch_sql(number: str) -> str:
    return f"""
    CASE WHEN abs({number}) < 1e11 THEN make_timestamptz(CAST(round({number} * 1e6) AS BIGINT))
         WHEN abs({number}) < 1e14 THEN make_timestamptz(CAST(round({number} * 1e3) AS BIGINT))
         WHEN abs({number}) < 1e17 THEN make_timestamptz(CAST({number} AS BIGINT))
         WHEN abs({number}) < 9e18 THEN make_timestamptz(CAST(round({number} / 1e3) AS BIGINT)) END"""


def literal(text: str) -> str:
    """Text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
