"""A text ends with a whole sentence within what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.inputs.texts import TextStyle, count_words
from recommender.metrics.texts import sentences
from recommender.writing.decoding import Decoding
from recommender.writing.length import Kept, Length

TEXT = "It's good. I like the taste! Would I buy it again? Yes."


@pytest.mark.parametrize(
    ("length", "kept"),
    [
        (Length(), TEXT),
        (Length(sentences=1), "It's good."),
        (Length(words=2), "It's good."),
        (Length(words=5), "It's good."),
        (Length(words=6), "It's good. I like the taste!"),
        (Length(words=500), TEXT),
        (Length(words=1), "It's."),
        (Length(sentences=1, words=6), "It's good."),
    ],
)
def test_a_text_is_cut_behind_the_last_sentence_that_fits(length: Length, kept: str) -> None:
    assert length.cut(TEXT) == kept


def test_the_first_words_stand_where_not_even_the_first_sentence_fits() -> None:
    assert Length(words=3).cut("Mail me, at <EMAIL> or call.") == "Mail me, at."
    assert Length(words=4).cut("Mail me, at <EMAIL> or call.") == "Mail me, at <EMAIL>."
    assert Length(words=2).cut("Well-made, sturdy and cheap.") == "Well-made, sturdy."
    assert Length(words=2).cut("很好喝我喜欢") == "很好."


@pytest.mark.parametrize(
    ("style", "max_words", "expected"),
    [
        ("short", None, Length(60, 1, None)),
        ("medium", None, Length(90, None, None)),
        ("long", None, Length(160, None, None)),
        ("long", 10, Length(56, None, 10)),
        ("medium", 100, Length(90, None, 100)),
    ],
)
def test_a_style_bounds_sentences_and_tokens(style: TextStyle, max_words: int | None, expected: Length) -> None:
    assert Length.of(style, max_words) == expected


def test_a_writer_fits_its_text_by_the_same_words() -> None:
    said = "这把吉他很好。声音非常温暖，我每天晚上都弹它。"
    assert Decoding(max_words=8).fit(said) == "这把吉他很好。"
    assert Decoding(max_words=3).fit(said) == "这把吉."
    assert Decoding(max_words=3).fit("It's good! I like it") == "It's good!"
    assert Decoding(max_words=5).is_long_enough(said)
    assert not Decoding(max_words=count_words(said)).is_long_enough(said)


@given(st.text(max_size=80), st.integers(1, 8))
def test_no_text_has_more_words_than_asked_for(text: str, words: int) -> None:
    cut = Length(words=words).cut(text)
    assert count_words(cut) <= words
    if count_words(text) > 0:
        assert count_words(cut) > 0


@given(st.lists(st.sampled_from(["Fine.", "I like it!", "Would you?", "It is of green tea."]), max_size=6))
def test_what_is_kept_by_the_sentence_is_what_is_kept_of_the_whole(said: list[str]) -> None:
    for length in (Length(), Length(sentences=2), Length(words=4)):
        assert " ".join(length.keep(said)) == length.cut(" ".join(said))


@pytest.mark.parametrize(("length", "n_taken"), [(Length(sentences=1), 1), (Length(words=6), 2), (Length(words=7), 3)])
def test_a_text_is_known_to_be_full_as_soon_as_it_is(length: Length, n_taken: int) -> None:
    kept, n_asked = Kept(length), 0
    for sentence in sentences(TEXT):
        if kept.is_full:
            break
        kept.take(sentence)
        n_asked += 1
    assert n_asked == n_taken
    assert kept.take("More.") == ""


def test_a_writer_decodes_no_more_tokens_than_it_sees_and_knows_the_number_of_words() -> None:
    assert Length.of("long", 100).decoding(64) == Decoding(max_new_tokens=64, max_words=100)
    assert Length.of("medium", None).decoding(128) == Decoding()
