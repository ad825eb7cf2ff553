"""Laws of the mask, on texts full of pieces of personal data in any script."""

from __future__ import annotations

import json

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settings.validation import PERSONAL_DATA, CleaningSettings
from validation.cleaning.text_repair import repair
from validation.masking.attributes import mask_attributes
from validation.masking.marks import MARKS
from validation.masking.mask import PersonalDataMask

_SETTINGS = CleaningSettings()
MASK = PersonalDataMask(PERSONAL_DATA, _SETTINGS.regions)
_PIECES = st.sampled_from(
    [
        "jo@x.com", "jo (at) x (dot) com", "jo at x dot com", "+44 20 7946 0958", "212-555-0187", "06 12 34 56 78",
        "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "account", "Konto", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
        "12 Baker Street", "Hauptstr. 5", "12, rue de la Paix", "Calle Mayor, 3", "Via Roma 12", "my name is",
        "Ich heiße",
        "Ada King", "Regards,", "hi i'm", "- Ada King", "username is", "kitty_12", "@kitty", "born", "geboren",
        "12 May 1988", "02.03.1971",
        "536-90-4399", "AB 12 34 56 C", "RSSMRA85T10A562S", "DNI", "12345678Z", "tax id", "DE136695976", "NHS",
        "943 476 5919",
        "1EG4-TE5-MK73", "passport", "C01X00T47", "driver's license", "D1234567", "number plate", "M-AB 1234",
        "1M8GDM9AXKP042788",
        "84.72.13.5", "2001:db8::7334", "3A:7B:91:64:7D:EC", "https://jo:s3@x.com/a", "www.facebook.com/kitty.cat",
        "电话13812345678", "โทร 5551234", "5551234로 전화", "wx13812345678wx", "https://x.com/a?token=ab谢谢",
        "https://x.com/用户/a？token=ab，是", "www.facebook.com/王小明", "lamp", "5", "12.",
    ]
)  # fmt: skip
_DIGITS = (str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"), str.maketrans("0123456789", "０１２３４５６７８９"))
_CHANGES = st.sampled_from(
    [
        lambda text: text, lambda text: text, lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace(" ", "\u202f  "),
        lambda text: text.replace("-", "\u2013"), lambda text: text.replace("-", "\u2011"),
        lambda text: text.translate(_DIGITS[0]),
        lambda text: text.translate(_DIGITS[1]), lambda text: text[:3] + "\u200b" + text[3:],
        lambda text: text.replace("@", "\uff20"),
        lambda text: text.upper(), lambda text: text.lower(), lambda text: text.replace("'", "\u2019").replace(".",
        "\u2022"),
        lambda text: text[:2] + "\u200d" + text[2:],
    ]
)  # fmt: skip
_PARTS = st.tuples(_PIECES, _CHANGES, st.sampled_from([" ", ", ", ". ", "\u00a0", "\n", "", " (", "): ", "  "]))
TEXTS = st.one_of(
    st.lists(_PARTS, min_size=1, max_size=6).map(lambda parts: "".join(change(one) + by for one, change, by in parts)),
    st.text(max_size=40),
)


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_masked_once_more_a_text_stays_as_it_is(text: str) -> None:
    masked, found = MASK.apply(text)
    assert MASK.apply(masked) == (masked, 0)
    assert (found == 0) == (masked == text)
    assert sum(masked.count(mark) for mark in MARKS.values()) >= found.bit_count()


@given(st.lists(TEXTS, min_size=20, max_size=20))
@settings(max_examples=30, deadline=None)
def test_what_is_found_the_quick_pattern_lets_through(texts: list[str]) -> None:
    texts = [text.replace("\0", "") for text in texts]
    suspects = duckdb.execute(f"SELECT {MASK.suspect_sql('t')} FROM (SELECT unnest(?) AS t)", [texts]).fetchall()
    for text, (suspect,) in zip(texts, suspects, strict=True):
        assert suspect or not MASK.find(text), (text, MASK.find(text))
        tidied, kinds = repair(text)  # what changes nothing but spaces brings nothing to light
        if kinds in (0, 1 << 3):
            assert suspect or not MASK.find(tidied), (text, MASK.find(tidied))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def _shape(value: object) -> object:
    """Names, lengths, types; of numbers and truth values also what they are. A text or number may become a text."""
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return value if value is None or isinstance(value, bool) else "text or number"


@given(st.dictionaries(TEXTS, _VALUES, max_size=4), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_masked_attributes_are_the_same_json_but_for_values(
    given_: dict[str, object], ascii_: bool, person: bool
) -> None:
    text = json.dumps(given_, ensure_ascii=ascii_)
    masked, found = mask_attributes(text, MASK, of_person=person)
    assert _shape(json.loads(masked)) == _shape(given_)
    assert (found == 0) == (masked == text)
    assert mask_attributes(masked, MASK, of_person=person) == (masked, 0)
