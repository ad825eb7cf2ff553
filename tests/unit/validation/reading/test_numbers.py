"""Numbers as people of any country write them."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from core.schema import TABLES, Column
from core.sql import literal
from validation.reading.numbers import number_sql

PRICE, VALUE, POSITION = (
    next(column for column in TABLES[table].columns if column.name == name)
    for table, name in (("items", "price"), ("interactions", "value"), ("interactions", "position"))
)


def read(text: str, column: Column = PRICE, decimal_comma: bool = False) -> Any:
    ((value,),) = duckdb.execute(
        f"SELECT {number_sql(column, 'v', 'VARCHAR', decimal_comma)} FROM (SELECT {literal(text)} AS v)"
    ).fetchall()
    return value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12.50", 12.5), ("12,50", 12.5), ("12,5", 12.5), ("0,500", 0.5), (".5", 0.5), (",5", 0.5), ("12.", 12.0),
        ("1,299.00", 1299.0), ("1.299,00", 1299.0), ("1.234.567,89", 1234567.89), ("1,234,567.89", 1234567.89),
        ("1 299,00", 1299.0), ("1\u00a0299,00", 1299.0), ("1\u202f299,00", 1299.0), ("1'299.50", 1299.5),
        ("1’299.50", 1299.5), ("1,29,900.00", 129900.0), ("1,29,900", 129900.0), ("1.299.000", 1299000.0),
        ("12.50 €", 12.5), ("€12.50", 12.5), ("€ 12,50", 12.5), ("1.299,00 €", 1299.0), ("USD 12.50", 12.5),
        ("12.50 USD", 12.5), ("US$12.50", 12.5), ("R$ 12,50", 12.5), ("$1,299.00", 1299.0), ("CHF 12.-", 12.0),
        ("12,- €", 12.0), ("100:-", 100.0), ("kr 100", 100.0), ("100 kr.", 100.0), ("Rs. 1,300", 1300.0),
        ("₹1,29,900", 129900.0), ("¥1200", 1200.0), ("1200円", 1200.0), ("£12", 12.0), ("-12.50", -12.5),
        ("-€12.50", -12.5), ("€-12.50", -12.5), ("(12.50)", -12.5), ("1e3", 1000.0), ("+3", 3.0),
        ("1.299,-", 1299.0), ("1.299,– €", 1299.0), ("1,299.-", 1299.0), ("1,299/-", 1299.0), ("Rs. 450/-", 450.0),
        ("12:50 kr", 12.5), ("12 Euro", 12.0), ("12.50 dollars", 12.5), ("USD $12.50", 12.5), ("S/ 12.50", 12.5),
        ("12,50 zl", 12.5), ("12,50 лв", 12.5), ("1´299.50", 1299.5), ("１，２９９．５０", 1299.5), ("١٢٫٥٠", 12.5),
    ],
)  # fmt: skip
def test_a_price_is_the_number_that_people_mean(text: str, number: float) -> None:
    assert read(text) == pytest.approx(number)
    if text not in ("1,300", "Rs. 1,300"):
        assert read(text, decimal_comma=True) == pytest.approx(number) or "," in text or "." in text


@pytest.mark.parametrize(
    "text",
    [
        "free",
        "nan",
        "inf",
        "1_000",
        "12k",
        "2 mio",
        "12.50-15.00",
        "12.50.00",
        "1,2,3",
        "12 for 3",
        "twelve",
        "99¢",
        "10:30:00",
    ],
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert read(text) is None
    assert read(text, VALUE) is None


def test_what_could_be_both_follows_the_setting() -> None:
    assert (read("1,299"), read("1.299")) == (1299.0, 1.299)
    assert (read("1,299", decimal_comma=True), read("1.299", decimal_comma=True)) == (1.299, 1299.0)
    assert read("$1,300") == 1300.0
    assert read("1.299 €", decimal_comma=True) == 1299.0


def test_a_rating_is_never_in_the_thousands() -> None:
    assert (read("4,5", VALUE), read("4.500", VALUE, decimal_comma=True), read("4,500", VALUE)) == (4.5, 4.5, 4.5)
    assert read("4 stars", VALUE) == 4.0


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("4 out of 5", 4.0), ("4.0 out of 5 stars", 4.0), ("4/5", 4.0), ("8/10", 4.0), ("4 von 5 Sternen", None),
        ("4 von 5", 4.0), ("90 %", 4.5), ("5 Sterne", 5.0), ("★★★★", 4.0), ("★★★☆☆", 3.0), ("★★½", 2.5),
        ("⭐⭐⭐", 3.0), ("★★½☆☆", 2.5), ("★☆", 2.5), ("3½", 3.5), ("4,5★", 4.5), ("3/0", None), ("A+", None),
    ],
)  # fmt: skip
def test_a_rating_may_name_its_own_scale(text: str, rating: float | None) -> None:
    assert read(text, VALUE) == (None if rating is None else pytest.approx(rating))


def test_a_rating_of_its_own_scale_lies_on_the_scale_of_the_settings() -> None:
    with duckdb.connect() as connection:
        sql = number_sql(VALUE, "v", "VARCHAR", False, best=10)
        query = f"SELECT {sql} FROM (VALUES ('8/10'), ('4 out of 5'), ('70%'), ('★★★')) t(v)"
        assert [value for (value,) in connection.execute(query).fetchall()] == [8.0, 8.0, 7.0, 3.0]


def test_whole_numbers_stay_whole() -> None:
    assert read("9007199254740993", POSITION) == 9007199254740993
    assert read("1,299", POSITION) == 1299
    assert read("-9223372036854775808", POSITION) == -9223372036854775808


@pytest.mark.parametrize("text", ["1e3", "1000.0", "+1000", " 1000 ", "１０００", "1,000", "1'000"])
def test_a_whole_number_is_read_as_any_other_is(text: str) -> None:
    assert (read(text, POSITION), read(text, PRICE)) == (1000, 1000.0)


@pytest.mark.parametrize("text", ["1_000", "1_0.5", "1e1_0", "0x10", "0b11", "nan", "twelve"])
def test_what_is_no_number_is_no_whole_one_either(text: str) -> None:
    assert (read(text, POSITION), read(text, PRICE)) == (None, None)


@pytest.mark.parametrize("text", ["1.5", "1,5", "9223372036854775808", "1e30"])
def test_what_is_not_whole_is_no_whole_number(text: str) -> None:
    assert read(text, POSITION) is None
    assert read(text, PRICE) is not None


@pytest.mark.parametrize("type_", ["BIGINT", "UHUGEINT", "DECIMAL(18, 2)", "DOUBLE", "FLOAT"])
def test_whole_numbers_of_the_source_stay_and_no_other_is_rounded(type_: str) -> None:
    with duckdb.connect() as connection:
        sql = number_sql(POSITION, "v", type_.split("(")[0], False)
        assert connection.execute(f"SELECT {sql} FROM (SELECT 7::{type_} AS v)").fetchall() == [(7,)]
        if type_ in ("DECIMAL(18, 2)", "DOUBLE", "FLOAT"):
            assert connection.execute(f"SELECT {sql} FROM (SELECT 1.5::{type_} AS v)").fetchall() == [(None,)]
        if type_ == "BIGINT":
            assert connection.execute(f"SELECT {sql} FROM (SELECT {2**53 + 1} AS v)").fetchall() == [(2**53 + 1,)]


def test_numbers_of_the_source_stay_and_infinity_is_none() -> None:
    with duckdb.connect() as connection:
        query = f"SELECT {number_sql(PRICE, 'v', 'DOUBLE', False)} FROM (VALUES (1.5), ('inf'::DOUBLE)) t(v)"
        assert [value for (value,) in connection.execute(query).fetchall()] == [1.5, None]
