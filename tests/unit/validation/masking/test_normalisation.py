"""The plain copy of a text, and where each of its characters stands."""

from __future__ import annotations

import pytest

from validation.masking.normalisation import normalise


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\u00a0b\u2009c\u3000d", "a b c d"),
        ("1\u20112\u20123\u20134\u22125", "1-2-3-4-5"),
        ("٠१２\U0001d7d8", "0120"),
        ("ｊｏ＠ｘ．ｄｅ", "jo@x.de"),
        ("m\u2019appelle", "m'appelle"),
        ("1\u200b2\u00ad3\ufeff4\u200e5", "12345"),
        ("café ß É ²", "café ß É ²"),
        ("好a。b。好，1", "\ufffca.b!\ufffc;1"),
        ("コーヒー０ー１", "\ufffc\ufffc\ufffc\ufffc0-1"),
        ("है e\u0301 1\ufe0f", "\ufffc\ufffc e\u02b9 1\ufe0f"),
    ],
)
def test_lookalikes_become_plain_and_the_rest_stays(text: str, plain: str) -> None:
    assert normalise(text).text == plain


def test_a_span_of_the_copy_is_found_in_the_text() -> None:
    text = "x \u200b2\u200b1\u200b2\u200b y"
    copy = normalise(text)
    start = copy.text.index("212")
    first, last = copy.original((start, start + 3))
    assert text[first:last] == "2\u200b1\u200b2"


def test_small_letters_stand_where_the_capitals_do() -> None:
    copy = normalise("İSTANBUL Straße")
    assert len(copy.lower) == len(copy.text)
    assert copy.lower.endswith("stanbul straße")


def test_a_span_is_found_where_characters_of_no_width_stand_among_letters_without_case() -> None:
    text = "好\u200b好1\u200b2"
    copy = normalise(text)
    assert (copy.text, copy.spelled, copy.original((2, 4))) == ("\ufffc\ufffc12", "好好12", (3, 6))
