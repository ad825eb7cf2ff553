"""Forms of dates are found from the values, and the order of day and month only where something settles it."""

from datetime import UTC, datetime, timedelta

import pytest

from validation.profile.values.dates import forms_of, read_times

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def days(form: str, n: int = 300, start: datetime = datetime(2024, 1, 1, 8, 26, tzinfo=UTC)) -> list[str]:
    return [(start + timedelta(days=number)).strftime(form) for number in range(n)]


@pytest.mark.parametrize(
    "form",
    [
        "%m/%d/%Y %H:%M",
        "%d/%m/%Y",
        "%d.%m.%Y %H:%M:%S",
        "%d-%m-%y",
        "%Y/%m/%d",
        "%Y.%m.%d %H:%M",
        "%b %d, %Y",
        "%d %B %Y",
        "%d-%b-%y",
        "%d/%b/%Y:%H:%M:%S %z",
        "%m/%d/%Y %I:%M:%S %p",
        "%Y%m%d",
        "%Y%m%d%H%M",
        "%d%m%Y",
        "%Y%m%d%H%M%S",
        "%a %b %d, %Y",
        "%d. %b %Y",
        "%m %d, %Y",
        "%a %b %d %H:%M:%S %z %Y",
        "%Y-%m-%d %H:%M:%S %z",
    ],
)
def test_a_form_is_found_and_reads_every_value(form):
    reading = read_times(days(form), NOW)
    assert reading.formats == (form,)
    assert reading.share == 1.0
    assert reading.choices == ()


@pytest.mark.parametrize(
    "write", [lambda t: str(int(t)), lambda t: str(int(t * 1000)), lambda t: f"{t:.1f}", lambda t: str(int(t * 1e6))]
)
def test_numbers_since_1970_need_no_form(write):
    reading = read_times([write(1_700_000_000 + 1000 * n) for n in range(50)], NOW)
    assert reading.formats == ()
    assert reading.share == 1.0


@pytest.mark.parametrize(
    "value",
    [
        "2024年1月15日",
        "2024年01月15日 10:00",
        "2024-01-15",
        "2024-01-15T10:00:00Z",
        "2024-01-15 10:00:00 UTC",
        "2024-01-15 10:00:00.123+02:00",
    ],
)
def test_iso_8601_needs_no_form(value):
    reading = read_times([value] * 3, NOW)
    assert reading.formats == ()
    assert reading.share == 1.0


def test_the_evidence_counts_the_days_above_12():
    assert "185 have a day above 12" in read_times(days("%m/%d/%Y %H:%M", 312), NOW).evidence[0]


def shuffled_low_days() -> list[str]:
    """Days up to 12 alone, in no order, in a year that is over."""
    return [f"{1 + n * 7 % 12:02d}/{1 + n * 5 % 12:02d}/2023" for n in range(144)]


def test_days_up_to_12_alone_are_asked_for():
    reading = read_times(shuffled_low_days(), NOW)
    assert reading.choices == (("%m/%d/%Y",),)
    assert reading.formats == ("%d/%m/%Y",)


def test_no_date_lies_in_the_future():
    # 03/11/2025 read day first is in November, five months ahead.
    values = [f"{month:02d}/{day:02d}/2025" for month in (1, 2, 3) for day in range(1, 13)]
    reading = read_times(values, NOW)
    assert reading.formats == ("%m/%d/%Y",)
    assert reading.choices == ()
    assert "future" in reading.evidence[0]


def test_a_file_in_order_of_time_settles_it():
    values = [f"{day:02d}.{month:02d}.2023" for month in range(1, 13) for day in range(1, 13)]
    reading = read_times(values, NOW)
    assert reading.formats == ("%d.%m.%Y",)
    assert reading.choices == ()
    assert "in order of time" in reading.evidence[0]


def test_a_second_form_lies_where_the_first_one_does():
    first = days("%m/%d/%Y %H:%M", 200)
    second = [f"{1 + n * 5 % 6:02d}-{1 + n * 7 % 12:02d}-2024 09:30" for n in range(60)]
    reading = read_times([*second, *first], NOW)
    assert reading.formats == ("%m/%d/%Y %H:%M", "%m-%d-%Y %H:%M")
    assert reading.choices == ()
    assert "outside" in reading.evidence[1]


def test_both_orders_in_one_column_are_asked_for():
    reading = read_times(["13/05/2024", "05/13/2024"] * 20, NOW)
    assert reading.choices


def test_zones_of_a_mixed_column_are_kept_apart():
    reading = read_times(["15/Jan/2024:10:00:00 +0530", "16/01/2024 10:00"], NOW)
    assert set(reading.formats) == {"%d/%b/%Y:%H:%M:%S %z", "%d/%m/%Y %H:%M"}


def test_may_is_no_form_of_its_own():
    assert read_times(days("%B %d, %Y"), NOW).formats == ("%B %d, %Y",)
    assert read_times(days("%b %d, %Y"), NOW).formats == ("%b %d, %Y",)


@pytest.mark.parametrize("value", ["12", "345", "hello", "i14", "99999999", "1,5", "a-b-c", "10:00"])
def test_what_is_no_time_is_none(value):
    assert read_times([value] * 5, NOW).share == 0
    assert forms_of(value) == ()


def test_numbers_that_count_from_some_other_start_are_no_times():
    assert read_times([str(100 * n) for n in range(100)], NOW).share == 0
