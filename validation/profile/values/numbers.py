"""How a column writes its numbers: the scale of ratings, ratings in words, and the decimal mark of prices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from core.schema import RATING, TABLES
from validation.profile.values.column import Column
from validation.profile.values.words import RATING_WORDS, plain_name
from validation.reading.numbers import number_sql

_PRICE_DIGITS = re.compile(r"\d[\d.,'  ]*\d|\d")
_RATING = next(column for column in TABLES["feedback"].columns if column.name == RATING)
_MAX_RATING = 100.0
_MAX_DISTINCT = 250


@dataclass(frozen=True)
class Scale:
    """The scale of a column of ratings.

    Attributes:
        ends: Lowest and highest; None where the contract's 1 to 5 fits.
        words: The shop's words to marks, where ratings are words.
        codes: Numbers that stand for no rating, such as -1 beside 1 to 10.
        unread: Values that are no rating, each with its count.
        zeros: Share of zeros, where they stand out so that they may mean "not rated"; else 0.
        evidence: What was seen.
    """

    ends: tuple[float, float] | None
    words: dict[str, str]
    codes: tuple[str, ...]
    unread: tuple[tuple[str, int], ...]
    zeros: float
    evidence: str


def read_scale(column: Column) -> Scale | None:
    """The scale of a column's ratings; None where its values are no ratings."""
    if column.n_distinct > _MAX_DISTINCT or not column.common:
        return None
    numbers = as_ratings([value for value, _ in column.common])
    words = {value: RATING_WORDS[plain_name(value)] for value, _ in column.common if plain_name(value) in RATING_WORDS}
    counts = dict(column.common)
    n_numbers = sum(counts[value] for value in numbers)
    n_words = sum(counts[value] for value in words)
    total = sum(counts.values())
    if n_words > 0.5 * total and len(set(words.values())) > 1:
        unread = tuple((value, n) for value, n in column.common if value not in words)
        evidence = ", ".join(f"{value} {counts[value]:,}" for value in words)
        return Scale(None, words, (), unread, 0.0, f"words: {evidence}")
    if n_numbers < 0.5 * total:
        return None
    codes = _codes(numbers)
    values = sorted({number for value, number in numbers.items() if value not in codes})
    ends = _ends(values) if values else None
    if ends is None:
        return None
    unread = tuple((value, n) for value, n in column.common if value not in numbers)
    by_number: dict[float, int] = {}
    for value, number in numbers.items():
        by_number[number] = by_number.get(number, 0) + counts[value]
    evidence = f"{len(values)} different values from {values[0]:g} to {values[-1]:g}"
    if any(value % 1 == 0.5 for value in values):
        evidence += ", halves among them"
    zeros, ones = by_number.get(0.0, 0), max((n for number, n in by_number.items() if 0 < number <= 2), default=0)
    odd_zeros = zeros / total if values[-1] > 1 and zeros > 0.25 * total and zeros > 3 * ones else 0.0
    return Scale(None if ends == (1.0, 5.0) else ends, {}, codes, unread, odd_zeros, evidence)


def _codes(numbers: dict[str, float]) -> tuple[str, ...]:
    """The one negative number beside a scale that has none, such as -1 or -99."""
    negative = [value for value, number in numbers.items() if number < 0]
    return tuple(negative) if len(negative) == 1 and max(numbers.values()) >= 3 else ()


def as_ratings(texts: Sequence[str]) -> dict[str, float]:
    """The texts that read as ratings, as the reader reads them: "4,5", "4 out of 5", "8/10"."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("given", pa.table({"text": pa.array(texts, pa.string())}))
        rows = connection.sql(f"SELECT text, {number_sql(_RATING, 'text', 'VARCHAR', False)} FROM given").fetchall()
    return {text: float(number) for text, number in rows if number is not None}


def _ends(values: Sequence[float]) -> tuple[float, float] | None:
    """The ends of the scale that ratings lie on, by the usual ones."""
    low, high = values[0], values[-1]
    if len(values) < 2:
        return (1.0, 5.0) if 1 <= low <= 5 else None
    if high > _MAX_RATING or low < -10:
        return None
    if low < 0:
        return (-high, high) if high == -low or high == 1 else (-max(high, -low), max(high, -low))
    if high <= 1:
        return (0.0, 1.0)
    if high <= 5:
        return (1.0, 5.0) if low >= 1 else (0.5, 5.0) if low == 0.5 else (0.0, 5.0)
    for end in (10.0, 20.0, 100.0):
        if high <= end:
            return (1.0 if low >= 1 and end == 10 else 0.5 if low == 0.5 else 0.0, end)
    return None


@dataclass(frozen=True)
class Money:
    """How prices are written.

    Attributes:
        decimal_comma: Whether the comma is the decimal mark.
        is_open: Whether the values leave it open.
        share: Of the sampled values, those with a number in them.
        evidence: What was seen.
    """

    decimal_comma: bool
    is_open: bool
    share: float
    evidence: str


def read_money(samples: Sequence[str]) -> Money:
    """Find the decimal mark of a column of prices."""
    found = [match[0] for value in samples if len(value) < 30 and (match := _PRICE_DIGITS.search(value))]
    share = len(found) / max(1, len(samples))
    commas = sum(bool(re.search(r",\d{1,2}$", one)) for one in found)
    points = sum(bool(re.search(r"\.\d{1,2}$|\.\d{4,}$", one)) for one in found)
    grouped_commas = sum(bool(re.search(r",\d{3}($|[,.])", one)) for one in found)
    grouped_points = sum(bool(re.fullmatch(r"\d{1,3}(\.\d{3})+", one)) for one in found)
    # 12 beside 1,300 means groups; 1.299 alone may be either.
    if commas and not points:
        return Money(
            True, False, share, f"{commas} of {len(found)} sampled values end in a comma and one or two digits"
        )
    if commas and points:
        evidence = f"{commas} of {len(found)} sampled values have a decimal comma and {points} a decimal point"
        return Money(False, False, share, evidence)
    if grouped_points and not points and not grouped_commas:
        evidence = (
            f"{grouped_points} of {len(found)} sampled values such as {_first_grouped(found)} read as thousands or as "
            "decimals"
        )
        return Money(False, True, share, evidence)
    evidence = (
        f"{grouped_commas} of {len(found)} sampled values have commas between thousands" if grouped_commas else ""
    )
    return Money(False, False, share, evidence)


def _first_grouped(found: Sequence[str]) -> str:
    return next(one for one in found if re.fullmatch(r"\d{1,3}(\.\d{3})+", one))
