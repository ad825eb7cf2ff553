"""An id is told as a value and as a word, in text of any escaping; a short one only where a field says what it is."""

import json
from html import escape
from urllib.parse import quote

import pytest

from flows.erasure.person import FORGOTTEN, Person

ODD = 'Ünal "7" O\'Neil/+&x'


@pytest.mark.parametrize(
    "text",
    [
        "the user u10001 did",
        "u10001",
        '{"user_id": "u10001"}',
        "/users/u10001/",
        "(u10001)",
        "user_u10001_x",
        "u10001, u10002",
    ],
)
def test_an_id_is_found_and_replaced_as_a_word(text):
    person = Person("u10001")
    assert person.in_text(text)
    assert person.in_bytes(text.encode())
    assert "u10001" not in person.redact(text)
    assert FORGOTTEN in person.redact(text)
    assert len(person.blot(text.encode())) == len(text.encode())
    assert b"u10001" not in person.blot(text.encode())


@pytest.mark.parametrize("text", ["u100011", "xu10001", "U10001", "10001", "u1000 1", ""])
def test_another_id_is_not_taken_for_it(text):
    person = Person("u10001")
    assert not person.in_text(text)
    assert person.redact(text) == text
    assert person.blot(text.encode()) == text.encode()


@pytest.mark.parametrize(
    "write",
    [str, json.dumps, lambda one: json.dumps(json.dumps(one)), escape, quote, lambda one: quote(one, safe=""), repr],
)
def test_an_id_is_found_in_any_escaping(write):
    person, text = Person(ODD), f"before {write(ODD)} after"
    assert person.in_text(text)
    assert not person.in_text(person.redact(text))
    assert not person.in_bytes(person.blot(text.encode()))


@pytest.mark.parametrize("short", ["7", "17850", "ann"])
def test_a_short_id_counts_only_behind_the_name_of_a_field(short):
    person = Person(short)
    for text in (f"user {short} bought", f'{{"user_id": "{short}"}}', f"user_id={short},", f"user: '{short}'"):
        assert person.in_text(text), text
        assert person.redact(text) == text.replace(short, FORGOTTEN)
    for text in (f"{short} rows, epoch {short}", f"item_id={short}", f"user {short}1"):
        assert not person.in_text(text), text


def test_json_is_looked_into_by_its_fields():
    person = Person("7")
    told = {"users": ["7", "8"], "n": "7", "item_id": "7", "deep": [{"user_id": "7.0"}]}
    assert person.in_json(told)
    assert person.redact_json(told) == {
        "users": [FORGOTTEN, "8"],
        "n": "7",
        "item_id": "7",
        "deep": [{"user_id": FORGOTTEN}],
    }
    assert not person.in_json({"n": "7", "item_id": "7", "count": 7})
    assert Person("u10001").redact_json({"u10001": {"said": "by u10001"}}) == {FORGOTTEN: {"said": f"by {FORGOTTEN}"}}


@pytest.mark.parametrize(
    ("user_id", "text", "redacted"),
    [
        ("u10001", "谢谢u10001的推荐", f"谢谢{FORGOTTEN}的推荐"),
        ("u10001", "जीu10001को", f"जी{FORGOTTEN}को"),
        ("सुनील", "सुनील, सुनीला, xसुनील", f"{FORGOTTEN}, सुनीला, xसुनील"),
        ("rose1e", "rose1e rose1e\u0301", f"{FORGOTTEN} rose1e\u0301"),
    ],
)
def test_a_mark_belongs_to_its_letter_and_a_letter_without_case_to_no_word_of_others(user_id, text, redacted):
    person = Person(user_id)
    assert person.in_text(text)
    assert person.redact(text) == redacted
    assert not person.in_text(redacted)
