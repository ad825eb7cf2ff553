"""A user's own words come back in their reviews."""

from __future__ import annotations

from features.counting.words import OwnWords, stop_words, words_of


def test_words_are_lower_case_of_three_letters_and_free_of_entities_and_stop_words() -> None:
    assert words_of("Zufrieden &amp; TWANGY, it is a 100% café.Velvety") == {"zufrieden", "twangy", "café", "velvety"}


def test_words_of_every_script_are_whole() -> None:
    assert words_of("गिटार अच्छा, गाना") == {"गिटार", "अच्छा", "गाना"}, "marks are part of the word"
    assert words_of("ශ්\u200dරී") == {"ශ්\u200dරී"}, "what joins letters parts no word"
    assert words_of("cafe\u0301") == {"café"}
    assert words_of("音色很好。ก็ดี") == {"音色很好", "ก็ดี"}, "what stands between signs where no spaces do"
    assert words_of("di\u200c x_twang5") == {"twang"}, "signs, digits and short words are none"


def test_stop_words_of_every_language_are_left_out() -> None:
    assert {"the", "und", "pour", "nicht", "porque"} <= stop_words()
    assert not {"twang", "tea", "leather"} & stop_words()


def own_words(*texts: str, n_words: int = 2) -> str:
    reader = OwnWords(n_words)
    for text in texts:
        reader.read(text)
    return reader.words()


def test_a_word_is_own_from_the_second_review_on_and_the_most_frequent_comes_first() -> None:
    assert own_words("the twang, twang") == ""
    assert own_words("twang and fizz", "fizz", "twang again", "fizz hum") == "fizz, twang"


def test_equals_go_by_the_alphabet_and_no_more_than_asked_for() -> None:
    assert own_words("zeal yarn xray", "xray yarn zeal") == "xray, yarn"


def test_the_order_of_the_reviews_does_not_matter() -> None:
    texts = ["twang fizz", "hum fizz", "twang hum", "fizz"]
    assert own_words(*texts) == own_words(*reversed(texts)) == "fizz, hum"
