"""Personal data become marks; prices, model numbers and years stay."""

from __future__ import annotations

import duckdb
import pytest

from validation.cleaning.personal_data import MARKS, PersonalDataMask, suspect_pattern

MASK = PersonalDataMask(("email", "phone", "card", "address"), ("US", "GB", "IN"))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jo.doe@example.com now", "write to <EMAIL> now"),
        ("call 212-555-0187 or (415) 555-2671", "call <PHONE> or <PHONE>"),
        ("+44 20 7946 0958 is his", "<PHONE> is his"),
        ("9876543210 on whatsapp", "<PHONE> on whatsapp"),
        ("my card 4111 1111 1111 1111 was billed", "my card <CARD> was billed"),
        ("he lives at 12 Baker Street, apt 4b, up there", "he lives at <ADDRESS>, up there"),
        ("mail a@b.com or c@d.org", "mail <EMAIL> or <EMAIL>"),
    ],
)
def test_personal_data_are_masked(text: str, masked: str) -> None:
    result, found = MASK.apply(text)
    assert result == masked
    assert found == sum(1 << bit for bit, mark in enumerate(MARKS.values()) if mark in masked)
    assert MASK.apply(result) == (result, 0)
    for kind, mark in MARKS.items():  # what is masked, SQL would have let through
        if mark in masked:
            ((suspect,),) = duckdb.execute("SELECT regexp_matches(?, ?)", [text, suspect_pattern(kind)]).fetchall()
            assert suspect


@pytest.mark.parametrize(
    "text",
    [
        "paid $1,299.00 and 1,499.00",
        "paid 1200 1300 1400 1500",
        "12.5 25.5 99.9 10.0",
        "1,25,000.00 rupees",
        "bought in 2012 2013 2014",
        "from 1998-2004, then 2005-2010",
        "2014-02-28 10:30 it came",
        "ordered 05-12-2019 08:37",
        "model 2125550187 is fine",
        "the SM58-2015550187",
        "serial no. 020 7946 0958",
        "4111 1111 1111 1112 is no card",
        "7 days down the road",
        "5 minutes from the main road",
        "@ 5 pm",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert MASK.apply(text) == (text, 0)


def test_only_what_is_asked_for_is_masked() -> None:
    assert PersonalDataMask(("email",), ("US",)).apply("a@b.com, 212-555-0187") == ("<EMAIL>, 212-555-0187", 1)
