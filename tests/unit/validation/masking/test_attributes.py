"""The mask over attributes: values of strings change where they must, and the JSON stays what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.settings.validation import PERSONAL_DATA, CleaningSettings
from validation.masking.attributes import mask_attributes
from validation.masking.mask import PersonalDataMask

MASK = PersonalDataMask(PERSONAL_DATA, CleaningSettings().regions)


def _masked(attributes: Any, *, of_person: bool = True) -> Any:
    return json.loads(mask_attributes(json.dumps(attributes), MASK, of_person=of_person)[0])


def test_nested_values_are_masked_and_others_stay() -> None:
    given = {
        "city": "Oslo", "age": 34, "zip": "90210", "tags": ["jo@x.com", 5, None, True],
        "contact": {"note": 'call "212-555-0187"', "more": [{"mail": "a@b.org"}]},
    }  # fmt: skip
    assert _masked(given) == {
        "city": "Oslo", "age": 34, "zip": "90210", "tags": ["<EMAIL>", 5, None, True],
        "contact": {"note": 'call "<PHONE>"', "more": [{"mail": "<EMAIL>"}]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "masked"),
    [
        ("passport_number", "C01X00T47", "<PASSPORT>"),
        ("dateOfBirth", "1980-02-03", "<BIRTH_DATE>"),
        ("username", "kitty_12", "<USERNAME>"),
        ("licensePlate", "M-AB 1234", "<PLATE>"),
        ("phone", 2125550187, "<PHONE>"),
        ("credit_card", "4111111111111111", "<CARD>"),
        ("ip_address", "84.72.13.5", "<IP>"),
        ("Model number", "212-555-0187", "212-555-0187"),
        ("weight", 2125550187, 2125550187),
        ("ean", "4006381333931", "4006381333931"),
        ("firmware", "1.2.3.4", "1.2.3.4"),
        ("birth_year", 1980, 1980),
    ],
)
def test_the_name_of_an_attribute_says_what_its_value_is(name: str, value: Any, masked: Any) -> None:
    assert _masked({name: value}) == {name: masked}


def test_a_name_is_a_persons_where_the_attribute_is_a_users() -> None:
    assert _masked({"name": "Ada King", "last_name": "king"}) == {"name": "<PERSON>", "last_name": "<PERSON>"}
    assert _masked({"contact": {"name": "Ada"}, "phone": {"name": "iPhone"}}) == {
        "contact": {"name": "<PERSON>"}, "phone": {"name": "iPhone"},
    }  # fmt: skip
    assert _masked({"address": "12, High St", "gender": "f"}) == {"address": "<ADDRESS>", "gender": "f"}
    assert _masked({"name": "Desk Lamp"}, of_person=False) == {"name": "Desk Lamp"}


def test_what_nothing_is_found_in_stays_byte_by_byte() -> None:
    text = '{ "w":1.10, "big":12345678901234567890,"a":"x\\u00e9", "a":"y" ,"e":[ ]}'
    assert mask_attributes(text, MASK, of_person=True) == (text, 0)
    changed, found = mask_attributes(text.replace("x\\u00e9", "jo\\u0040x.com"), MASK, of_person=True)
    assert changed == text.replace("x\\u00e9", "<EMAIL>")
    assert found == 1


def test_half_a_character_beside_what_is_masked_stays_escaped() -> None:
    inner = json.dumps({"note": "\ud83d jo@x.com"})
    for given, masked in (("jo@x.com \ud83d", "<EMAIL> \ud83d"), (inner, inner.replace("jo@x.com", "<EMAIL>"))):
        text, _ = mask_attributes(json.dumps({"bio": given}), MASK, of_person=True)
        assert json.loads(text.encode()) == {"bio": masked}


def test_json_within_a_text_stays_json() -> None:
    inner = json.dumps({"mail": ["jo@x.com"], "phone": 2125550187, "weight": 5})
    masked = _masked({"contact": inner, "note": "{call} 212-555-0187"})
    assert json.loads(masked["contact"]) == {"mail": ["<EMAIL>"], "phone": "<PHONE>", "weight": 5}
    assert masked["note"] == "{call} <PHONE>"
