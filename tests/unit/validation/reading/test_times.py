"""Times in the forms that settings name, in ISO 8601, as digits and as numbers."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import pytest

from core.schema import TABLES
from core.sql import literal
from validation.reading.dialect import Dialect
from validation.reading.times import time_sql
from validation.reading.values import typed_sql

at = partial(datetime, tzinfo=UTC)


def read(*values: Any, type_: str = "VARCHAR", **settings: Any) -> list[Any]:
    """The moments of values in one column."""
    rows = ", ".join(f"({literal(value) if isinstance(value, str) else value})" for value in values)
    sql = time_sql("v", type_, Dialect(**settings))
    query = f"SELECT CAST({sql} AS TIMESTAMP) FROM (SELECT CAST(v AS {type_}) AS v FROM (VALUES {rows}) t(v))"
    return [value and value.replace(tzinfo=UTC) for (value,) in _connection().execute(query).fetchall()]


@functools.cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-15", at(2024, 1, 15)),
        ("2024-01-15T10:00:00+05:30", at(2024, 1, 15, 4, 30)),
        ("2024-01-15 10:00:00 UTC", at(2024, 1, 15, 10)),
        ("20240115", at(2024, 1, 15)),
        ("20240115.0", at(2024, 1, 15)),
        ("202401151030", at(2024, 1, 15, 10, 30)),
        ("20240115103059", at(2024, 1, 15, 10, 30, 59)),
        ("1705312800", at(2024, 1, 15, 10)),
        ("1705312800.5", at(2024, 1, 15, 10, 0, 0, 500_000)),
        ("1705312800123", at(2024, 1, 15, 10, 0, 0, 123_000)),
        ("1705312800123456", at(2024, 1, 15, 10, 0, 0, 123_456)),
        ("2015", at(2015, 1, 1)),
        ("2015.0", at(2015, 1, 1)),
        ("2024-01-15 10:00:00 +0530", at(2024, 1, 15, 4, 30)),
        ("2024-01-15 10:00:00 +0000 UTC", at(2024, 1, 15, 10)),
        ("2024-01-15 10:00:00,123", at(2024, 1, 15, 10, 0, 0, 123_000)),
        ("2024-01-15T10:00:00+01:00[Europe/Berlin]", at(2024, 1, 15, 9)),
        ("2024.01.15 10:00", at(2024, 1, 15, 10)),
        ("2024年1月15日", at(2024, 1, 15)),
        ("2024.13.15", None),
        ("soon", None),
        ("infinity", None),
        ("epoch", None),
        ("31/12/2024", None),
    ],
)  # fmt: skip
def test_forms_that_need_no_setting(text: str, moment: datetime | None) -> None:
    assert read(text) == [moment]


def test_formats_of_the_settings_come_before_iso_and_numbers() -> None:
    assert read("20240115", date_formats=["%Y%d%m"]) == [at(2024, 1, 15)]  # month 15 does not exist
    assert read("20240211", date_formats=["%Y%d%m"]) == [at(2024, 11, 2)]
    assert read("2024-02-01", date_formats=["%Y-%d-%m"]) == [at(2024, 1, 2)]


@pytest.mark.parametrize("value", [5012024, "5012024", "05012024"])
def test_digits_that_lost_their_leading_zero(value: Any) -> None:
    type_ = "VARCHAR" if isinstance(value, str) else "BIGINT"
    assert read(value, type_=type_, date_formats=["%d%m%Y"]) == [at(2024, 1, 5)]


@pytest.mark.parametrize("zone", ["", "+00"])
@pytest.mark.parametrize("unit", ["S", "MS", "", "NS"])
def test_every_unit_with_and_without_a_zone(unit: str, zone: str) -> None:
    types = {"": f"TIMESTAMP{unit and f'_{unit}'}", "+00": "TIMESTAMPTZ_NS" if unit == "NS" else "TIMESTAMPTZ"}
    name = _connection().sql(f"SELECT CAST('2024-01-15 10:00:00{zone}' AS {types[zone]})").types[0]
    text = f"CAST('2024-01-15 10:00:00{zone}' AS {name})"
    moment = at(2024, 1, 15, 10 if zone else 9)
    sql = time_sql(text, str(name), Dialect(time_zone="Europe/Berlin"))
    ((read_moment,),) = _connection().execute(f"SELECT CAST({sql} AS TIMESTAMP)").fetchall()
    assert read_moment.replace(tzinfo=UTC) == moment


@pytest.mark.parametrize("type_", ["BIGINT", "DOUBLE", "VARCHAR"])
def test_numbers_near_to_1970_are_no_moments_of_users_and_items(type_: str) -> None:
    column = next(one for one in TABLES["items"].columns if one.name == "created_at")
    values = ["2015", "150601", "45292", "1705312800", "-600000000"]
    rows = ", ".join(f"(CAST({literal(value)} AS {type_}))" for value in values)
    query = f"SELECT CAST({typed_sql(column, 'v', type_, Dialect())} AS TIMESTAMP) FROM (VALUES {rows}) t(v)"
    found = [value and value.replace(tzinfo=UTC) for (value,) in _connection().execute(query).fetchall()]
    assert found == [at(2015, 1, 1), None, None, at(2024, 1, 15, 10), at(1950, 12, 27, 13, 20)]


@pytest.mark.parametrize("type_", ["BIGINT", "DOUBLE", "INTEGER"])
def test_dates_as_whole_numbers(type_: str) -> None:
    assert read(20240115, type_=type_) == [at(2024, 1, 15)]
    assert read(1705312800, type_=type_) == [at(2024, 1, 15, 10)]


def test_each_row_has_its_own_form_and_zone() -> None:
    times = ["15/Jan/2024:10:00:00 +0530", "16/01/2024 10:00", "17/Jan/2024:10:00:00 -0100", "16/01/2024 11:00"]
    formats = ["%d/%b/%Y:%H:%M:%S %z", "%d/%m/%Y %H:%M"]
    assert read(*times, date_formats=formats) == [
        at(2024, 1, 15, 4, 30), at(2024, 1, 16, 10), at(2024, 1, 17, 11), at(2024, 1, 16, 11)
    ]  # fmt: skip


def test_times_without_a_zone_are_local() -> None:
    berlin = {"time_zone": "Europe/Berlin"}
    assert read("2024-01-15 10:00", "2024-07-15 10:00", "2024-01-15T10:00Z", "2024-01-15 10:00+02", **berlin) == [
        at(2024, 1, 15, 9), at(2024, 7, 15, 8), at(2024, 1, 15, 10), at(2024, 1, 15, 8)
    ]  # fmt: skip
    assert read("15.01.2024 10:00", date_formats=["%d.%m.%Y %H:%M"], **berlin) == [at(2024, 1, 15, 9)]
    assert read("20240115", "1705312800", **berlin) == [at(2024, 1, 14, 23), at(2024, 1, 15, 10)]
    assert read("2024-01-15 10:00", type_="TIMESTAMP", **berlin) == [at(2024, 1, 15, 9)]
    assert read("2024-01-15 10:00+00", type_="TIMESTAMP WITH TIME ZONE", **berlin) == [at(2024, 1, 15, 10)]
