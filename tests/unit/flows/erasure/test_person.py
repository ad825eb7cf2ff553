"""An id is told as a value and as a word, in text of any escaping; a short one only where a field says what it is."""

import json
from html import escape
from urllib.parse import quote

import pytest
import regex

from core.words.escapes import alone
from flows.erasure.contents import names
from flows.erasure.files import blot_log
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


@pytest.mark.parametrize("n", [1, 10, 11, 30])
def test_a_long_link_beside_an_id_belongs_to_its_word(n):
    # More than is looked at beside an id, which may end within a character.
    for letters in ("Я" * n, "Ẽ" * n):
        assert not Person("user-1").in_text(f"user-1{quote(letters)}")
        assert not Person("user-1").in_text(f"{quote(letters)}user-1")


class _Copied(str):
    """Text that counts how much of it is copied."""

    n_copied = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        self.n_copied += len(found)
        return found


def test_what_is_no_id_copies_nothing_of_the_text_before_it():
    n = 500
    text = _Copied("".join(f"user-1{number:04d} did\\n" for number in range(n)))
    assert list(alone(regex.compile("(?P<id>user-1)"), text)) == []
    assert text.n_copied <= 10 * n


WORDS = (
    "user-1",
    "user-12345",
    "xuser-1",
    "user-1\\\\u00e9t",
    "\\\\u00e9user-1",
    "user-1é",
    "(user-1)",
    "user\\\\u002d1",
)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("filler", [b".", "\u00bf".encode()])
def test_pieces_of_a_file_tell_of_an_id_what_the_whole_tells_wherever_it_stands(word, filler, tmp_path):
    person, path = Person("user-1"), tmp_path / "service.log"
    size, margin = 6 * person.most_bytes, person.most_bytes
    edges = [0, margin, size - 4 * margin, size - 3 * margin, size - margin, size, 2 * size - 4 * margin]
    for place in sorted({edge + by for edge in edges for by in range(-len(word) - 8, 9) if edge + by >= 0}):
        before = (filler * place)[:place]
        # Up to the end of the file, which also lies at a piece's end, and far beyond.
        for behind in (b"", filler * 4, filler * 4 * size):
            content = before + word.encode() + behind
            path.write_bytes(content)
            whole = person.blot(content)
            assert names(path, person, size) == person.in_bytes(content), place
            assert blot_log(path, person, size) == int(whole != content)
            assert path.read_bytes() == whole, place


def test_ids_side_by_side_are_blotted_across_all_edges(tmp_path):
    person, path = Person("user-1"), tmp_path / "service.log"
    content = b"".join(b"user-1" + b" 2x,"[n % 4 : n % 4 + 1] for n in range(4000))
    path.write_bytes(content)
    assert blot_log(path, person, piece_bytes=1) == 1
    assert path.read_bytes() == person.blot(content)
