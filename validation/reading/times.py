"""Times in SQL: in the forms that the settings name, in ISO 8601, as digits (20240115), or as a number since 1970."""

from __future__ import annotations

import re

from core.sql import literal
from validation.reading.dialect import Dialect
from validation.reading.numbers import NUMERIC, PLAIN

# A zone after the time of day: Z, +05:30, UTC, Europe/Berlin.
_ZONED = r".*\d:\d{2}(:\d{2}([.,]\d+)?)?\s*([zZ]|[+-]\d{2}(:?\d{2})?|[A-Za-z][A-Za-z_]+(/[A-Za-z_]+)*)$"
# What keeps a time from being ISO 8601: points or Japanese marks after the year, a comma before the fraction, a
# space before the offset, the zone's name once more behind it.
_NEARLY_ISO = (
    (r"^(\d{4})[.\x{5e74}]\s?(\d{1,2})[.\x{6708}]\s?(\d{1,2})[.\x{65e5}]?", r"\1-\2-\3"),
    (r"(:\d{2}),(\d+)", r"\1.\2"),
    (r"(\d) ([+-]\d{2}:?(\d{2})?)( [A-Z]+)?$", r"\1\2"),
    (r"\[[\w/+-]+\]$", ""),
)
# No number of (milli)seconds reads like these: they would lie before the first web shop, or far ahead.
_DIGITS = {
    r"(19|20)\d{2}": "%Y",
    r"(19|20)\d{6}": "%Y%m%d",
    r"(19|20)\d{10}": "%Y%m%d%H%M",
    r"(19|20)\d{12}": "%Y%m%d%H%M%S",
}
# Seconds: a number nearer to 1970 is no moment but a code, a day such as 150601, or a count of days (Excel).
LEAST_EPOCH_S = 1e8
_WIDTHS = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "I": 2, "M": 2, "S": 2, "j": 3}


def time_sql(value: str, type_: str, dialect: Dialect, least_epoch_s: float = 0) -> str:
    """The moment, a TIMESTAMPTZ; null where the value reads as none.

    Args:
        value: An expression: trimmed text where `type_` is VARCHAR, else the value as the source has it.
        type_: DuckDB's name of the source's type, without its size.
        least_epoch_s: A number of seconds since 1970 that is nearer to it reads as none.
    """
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return value
    if type_.startswith("TIMESTAMPTZ"):  # of nanoseconds
        return f"CAST({value} AS TIMESTAMPTZ)"
    if type_ == "DATE" or type_.startswith("TIMESTAMP"):
        return _local_sql(f"CAST({value} AS TIMESTAMP)", dialect.time_zone)
    if type_ in NUMERIC:
        whole = f"CASE WHEN {value} = trunc({value}) THEN CAST(TRY_CAST({value} AS HUGEINT) AS VARCHAR) END"
        epoch = _epoch_sql(f"CAST({value} AS DOUBLE)", least_epoch_s)
        read = [*_in_formats(whole, dialect), *_digits(whole, dialect), epoch]
        return f"coalesce({', '.join(read)})"
    text = value if type_ == "VARCHAR" else f"CAST({value} AS VARCHAR)"
    return f"coalesce({', '.join([*_in_formats(text, dialect), any_form_sql(text, dialect, least_epoch_s)])})"


def any_form_sql(text: str, dialect: Dialect, least_epoch_s: float = 0) -> str:
    """A time in one of the forms that need no setting."""
    nearly = text
    for form, iso in _NEARLY_ISO:
        nearly = f"regexp_replace({nearly}, {literal(form)}, {literal(iso)})"
    read = f"coalesce({_iso_sql(text, dialect)}, {_iso_sql(nearly, dialect)})"
    # The casts also take words such as "infinity" and "epoch".
    dated = f"CASE WHEN regexp_full_match(left({text}, 1), '[0-9]') THEN {read} END"
    number = f"CASE WHEN regexp_full_match({text}, {literal(PLAIN)}) THEN TRY_CAST({text} AS DOUBLE) END"
    whole = f"regexp_replace({text}, '\\.0+$', '')"
    return f"coalesce({', '.join([dated, *_digits(whole, dialect), _epoch_sql(number, least_epoch_s)])})"


def _iso_sql(text: str, dialect: Dialect) -> str:
    iso = f"TRY_CAST({text} AS TIMESTAMPTZ)"
    if dialect.time_zone == "UTC":
        return iso
    local = _local_sql(f"TRY_CAST({text} AS TIMESTAMP)", dialect.time_zone)
    return f"CASE WHEN regexp_full_match({text}, {literal(_ZONED)}) THEN {iso} ELSE {local} END"


def _in_formats(text: str, dialect: Dialect) -> list[str]:
    """One call per form: DuckDB keeps the offset of the row before where it is given a list of them."""
    read = []
    for form in dialect.date_formats:
        moment = f"try_strptime({_filled(text, form)}, {literal(form)})"
        read.append(moment if re.search("%[zZ]", form) else _local_sql(moment, dialect.time_zone))
    return read


def _filled(text: str, form: str) -> str:
    """A form of digits alone: a number has lost its leading zero, and may have gained a ".0"."""
    directives = re.findall("%(.)", form)
    if re.sub("%.", "", form) or not set(directives) <= set(_WIDTHS):
        return text
    width = sum(_WIDTHS[one] for one in directives)
    whole = f"regexp_replace({text}, '\\.0+$', '')"
    return f"CASE WHEN regexp_full_match({whole}, '\\d{{{width - 1}}}') THEN '0' || {whole} ELSE {whole} END"


def _digits(text: str, dialect: Dialect) -> list[str]:
    return [
        f"CASE WHEN regexp_full_match({text}, {literal(digits)}) THEN "
        f"{_local_sql(f'try_strptime({text}, {literal(form)})', dialect.time_zone)} END"
        for digits, form in _DIGITS.items()
    ]


def _local_sql(naive: str, zone: str) -> str:
    """A TIMESTAMP of a zone as a moment; the connection's own zone is UTC."""
    return f"CAST({naive} AS TIMESTAMPTZ)" if zone == "UTC" else f"timezone({literal(zone)}, {naive})"


def _epoch_sql(number: str, least_s: float) -> str:
    return f"""
    CASE WHEN abs({number}) < {least_s!r} THEN NULL
         WHEN abs({number}) < 1e11 THEN make_timestamptz(CAST(round({number} * 1e6) AS BIGINT))
         WHEN abs({number}) < 1e14 THEN make_timestamptz(CAST(round({number} * 1e3) AS BIGINT))
         WHEN abs({number}) < 1e17 THEN make_timestamptz(CAST({number} AS BIGINT))
         WHEN abs({number}) < 9e18 THEN make_timestamptz(CAST(round({number} / 1e3) AS BIGINT)) END"""
