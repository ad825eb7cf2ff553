"""Any id is found in text of every format that the platform writes, and is none where it is part of a longer one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

import pytest
import regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markupsafe import escape as escape_markup

from core.events import canonical_id
from core.sql import literal
from core.tombstones import Tombstone, Tombstones
from flows.erasure.person import FORGOTTEN, Person
from validation.raw.forgotten import names_forgotten

Writer = Callable[[str], str]


def _csv(text: str) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(["a", text, "b"])
    return line.getvalue()


def _json(text: str) -> str:
    return json.dumps({"user": [text]})


def _plain_json(text: str) -> str:
    return json.dumps({"user": [text]}, ensure_ascii=False)


_FORMATS: dict[str, Writer] = {
    "plain": str,
    "json": _json,
    "json, not of ASCII": _plain_json,
    "json in json": lambda text: _json(_json(text)),
    "json in json, not of ASCII": lambda text: _plain_json(_plain_json(text)),
    "json in json in json": lambda text: _json(_plain_json(_json(text))),
    "html": escape,
    "html without quotation marks": lambda text: escape(text, quote=False),
    "html of templates": lambda text: str(escape_markup(text)),
    "html twice": lambda text: escape(escape(text)),
    "json in html": lambda text: escape(_json(text)),
    "html in json": lambda text: _json(escape(text)),
    "link": lambda text: quote(text, safe=""),
    "path": quote,
    "query": quote_plus,
    "link in a link": lambda text: quote(quote(text, safe=""), safe=""),
    "json in a link": lambda text: quote(_json(text)),
    "link in json": lambda text: _json(quote(text)),
    "repr": repr,
    "repr beside both quotation marks": lambda text: repr(f"'\" {text} \"'"),
    "ascii": ascii,
    "json in repr": lambda text: repr(_json(text)),
    "csv": _csv,
    "json in csv": lambda text: _csv(_json(text)),
    "csv in json": lambda text: _json(_csv(text)),
    "sql": literal,
}
_CHARS = st.one_of(
    st.sampled_from("abAB09_-.:@/\\\"'&<>%+ =~#;,éßЯग़王ก한ü̈ी😀𐐀"),
    st.characters(exclude_categories=("Cs", "Cc", "Cf", "Cn", "Co", "Zl", "Zp")),
)
_IDS = st.text(_CHARS, min_size=1, max_size=12).map(canonical_id)
# Beside the id, so that a writer that escapes has them escaped there.
_BESIDE = st.sampled_from(["", " ", "\n", "\t", '"', ",", "\u00a0", "(", "。", "&", "<", "/"])


def _is_word(char: str) -> bool:
    return regex.match(r"[\p{L}\p{N}]", char) is not None


@pytest.mark.parametrize("write", _FORMATS.values(), ids=_FORMATS)
@given(_IDS, _BESIDE, _BESIDE)
@settings(max_examples=25, deadline=None)
def test_any_id_is_found_in_every_format(write: Writer, user_id: str, before: str, after: str) -> None:
    person = Person(user_id)
    assume(person.is_distinct)
    assume(not regex.match(r"\p{M}", user_id))  # that belongs to what stands before it
    assume(not person.in_text(write(f"{before}{FORGOTTEN}{after}")))  # nor what stands around it anyway
    text = write(f"{before}{user_id}{after}")
    content = text.encode()
    assert person.in_text(text), text
    assert person.in_bytes(content)
    assert not person.in_text(person.redact(text))
    blotted = person.blot(content)
    assert len(blotted) == len(content)
    assert not person.in_bytes(blotted)
    assert blotted == content or person.in_bytes(content)


@pytest.mark.parametrize("write", _FORMATS.values(), ids=_FORMATS)
@given(st.text(st.sampled_from("abn09-.éЯ_u"), min_size=6, max_size=10), st.sampled_from("aéЯn7ü"), st.booleans())
@settings(max_examples=25, deadline=None)
def test_an_id_that_is_part_of_a_longer_one_is_not(write: Writer, user_id: str, letter: str, is_before: bool) -> None:
    person = Person(user_id)
    assume(person.id == user_id and person.is_distinct)
    assume(_is_word(user_id[0] if is_before else user_id[-1]))
    longer = letter + user_id if is_before else user_id + letter
    text = write(f" {longer} ")
    assert not person.in_text(text), text
    assert person.redact(text) == text
    assert person.blot(text.encode()) == text.encode()


@pytest.mark.parametrize(
    "write",
    [_json, _plain_json, _csv, lambda text: f'"{escape(text)}"', lambda text: f'"{quote(text)}"'],
    ids=["json", "json, not of ASCII", "csv", "html", "link"],
)
@given(st.text(_CHARS, min_size=1, max_size=12), st.text(st.characters(categories=("Cs", "Lu")), max_size=4))
@settings(max_examples=25, deadline=None)
def test_a_line_that_could_not_be_read_is_known_by_any_escaped_id(write: Writer, text: str, cut: str) -> None:
    user_id = canonical_id(text)
    assume(user_id)
    once = Tombstones(salt="s")
    stone = Tombstone(person=once.hash_of(user_id), at="2026-01-01", receipt=1)
    tombstones = once.model_copy(update={"forgotten": (stone,)})
    assert names_forgotten(write(user_id), tombstones)
    # Half of a character, as clients that cut a text escape it.
    assert names_forgotten(f"{json.dumps(cut)},{write(user_id)}", tombstones)
    assert not names_forgotten(write(f"x{user_id}x"), tombstones) or user_id in ("a", "b", "user", "x")
