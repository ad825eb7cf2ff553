"""Text measures against fractions worked by hand."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.metrics.texts import (
    bert_score,
    bleu,
    copied_share,
    distinct_n,
    feature_coverage_ratio,
    feature_matching_ratio,
    has_words,
    longest_common_subsequence,
    ngrams,
    pieces,
    rouge_l,
    rouge_n,
    runs,
    sentences,
    unique_sentence_ratio,
    words,
)

texts = st.lists(st.text(alphabet="ab .!", max_size=30), max_size=5)


def test_words_are_lower_case_and_keep_apostrophes() -> None:
    assert words("It's GREAT, really (5/5)!") == ["it's", "great", "really", "5", "5"]


def test_words_of_every_script_are_whole() -> None:
    assert words("很好喝 2次 ok") == ["很", "好", "喝", "2", "次", "ok"]
    assert words("ශ්\u200dරී ලංකා") == ["ශ්\u200dරී", "ලංකා"], "what joins letters parts no word"
    assert words("गिटार अच्छा है।") == ["गिटार", "अच्छा", "है"], "marks are part of the word"
    assert words("ดีมาก ๓") == ["ดี", "ม", "า", "ก", "๓"], "and of the character"
    assert words("cafe\u0301") == words("CAFÉ") == ["café"], "however it is composed"
    assert words("ギター") == ["ギ", "タ", "ー"]
    assert words("좋아요 ❤️ 100½") == ["좋아요", "100½"]


@given(st.text(st.characters(codec="latin-1")))
def test_words_of_latin_texts_are_runs_of_letters_and_digits(text: str) -> None:
    assert words(text) == re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


@given(st.text(st.characters(codec="latin-1") | st.characters(min_codepoint=0x2010, max_codepoint=0x2027)))
def test_words_of_latin_texts_are_the_same_beside_other_scripts(text: str) -> None:
    assert [*words(text), "好"] == words(f"{text} 好")
    assert has_words(text) == bool(words(text))


def test_what_has_a_word_is_told_in_every_script() -> None:
    assert all(map(has_words, ("ok", "5", "好", "गिटार", "cafe\u0301")))
    assert not any(map(has_words, ("", "?!", "❤️", "\u0301")))


def test_one_other_character_leaves_a_text_alike() -> None:
    ours, theirs = ["声音很好听"], ["声音很难听"]
    # 4 of 5 characters, 2 of 4 pairs: 声音, 音很.
    assert rouge_n(ours, theirs, 1) == rouge_l(ours, theirs) == pytest.approx(80.0)
    assert rouge_n(ours, theirs, 2) == pytest.approx(50.0)
    assert bleu(ours, theirs, 2) == pytest.approx(100 * (4 / 5 * 2 / 4) ** 0.5)
    assert distinct_n(["好好好听"], 1) == pytest.approx(2 / 4)


def test_two_characters_are_as_long_as_a_word_in_a_run() -> None:
    assert runs("a b c", 2) == [("a", "b"), ("b", "c")]
    assert runs("很好听", 1) == [("很", "好"), ("好", "听")]
    assert runs("a 很好 b", 2) == [("a", "很", "好"), ("很", "好", "b")]
    assert runs("很b好", 1) == [("很", "b"), ("b",)]
    assert runs("很", 1) == runs("", 1) == []
    # 4-word runs of eight characters: one of three stands in training.
    assert copied_share(["这把吉他声音很好听真"], ["我说这把吉他声音很好"], 4) == pytest.approx(1 / 3)


def test_sentences_end_at_their_marks() -> None:
    assert sentences("Good. Very good!  Buy") == ["Good.", "Very good!", "Buy"]
    assert sentences("  ") == []


@given(st.text(alphabet="ab.!。！」） ", max_size=12))
def test_sentences_with_the_white_space_before_them_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text.strip()
    assert all(map(str.strip, pieces(text)))


def test_ngrams_of_a_short_text_are_none() -> None:
    assert ngrams(["a", "b"], 3) == []
    assert ngrams(["a", "b", "a", "b"], 2) == [("a", "b"), ("b", "a"), ("a", "b")]


def test_bleu_is_the_geometric_mean_of_clipped_precisions() -> None:
    # 1-grams: all but "mat", 5/6. 2-grams: the-cat twice, cat-on, 3/5. 3-grams: the-cat-on, 1/4. 4-grams: none, 0.1/3.
    generated, reference = "the cat the cat on mat", "the cat sat the cat on"
    assert bleu([generated], [reference]) == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 0.1 / 3) ** 0.25)


def test_bleu_clips_a_repeated_word() -> None:
    # 1-grams: "the" counts twice of 4; 2-grams the-the once of 3; longer ones not at all.
    assert bleu(["the the the the"], ["the the cat sat"]) == pytest.approx(
        100 * (2 / 4 * 1 / 3 * 0.1 / 2 * 0.1) ** 0.25
    )


def test_bleu_punishes_brevity() -> None:
    # All precisions are 1 with 4 words of 8: exp(1 - 8/4).
    assert bleu(["a b c d"], ["a b c d e f g h"]) == pytest.approx(100 * math.exp(-1))


def test_bleu_of_texts_without_four_words_is_zero() -> None:
    assert bleu(["a b c"], ["a b c"]) == 0.0
    assert bleu([], []) == 0.0
    assert bleu(["x y z w"], ["a b c d"]) == 0.0
    assert bleu([""], ["a"]) == 0.0


def test_bleu_counts_over_the_whole_corpus_in_lower_case_without_punctuation() -> None:
    # 1-grams 5 of 6, 2-grams 3 of 4, 3-grams 2 of 2, 4-grams 1 of 1 (the second text is too short for any).
    generated, references = ["Nice, warm and LIGHT.", "too small"], ["nice warm and light!", "too big"]
    assert bleu(generated, references) == pytest.approx(100 * (5 / 6 * 3 / 4) ** 0.25)


def test_bleu_of_single_words_is_their_clipped_precision() -> None:
    # "the" counts twice of 4; as long as the reference, so nothing is taken off.
    assert bleu(["the the the the"], ["the the cat sat"], 1) == pytest.approx(50.0)
    # Two of two words, half as long: exp(1 - 4/2).
    assert bleu(["the cat"], ["the cat sat there"], 1) == pytest.approx(100 * math.exp(-1))


def test_rouge_1_counts_each_shared_word_once() -> None:
    # shared: "good", "good" (twice in both), "sound" -> 3; 2 * 3 / (4 + 6)
    assert rouge_n(["good good sound here"], ["good sound, very good for me"], 1) == pytest.approx(60.0)


def test_rouge_2_counts_pairs_of_neighbours() -> None:
    # "very good", "good sound" of 3 pairs and of 2 -> 2 * 2 / 5; a text of one word has no pair.
    assert rouge_n(["a very good sound"], ["very good sound"], 2) == pytest.approx(80.0)
    assert rouge_n(["good", "a b"], ["good", "a b"], 2) == pytest.approx(50.0)


def test_feature_matching_is_the_share_of_the_real_features_that_are_named() -> None:
    # strings, of strings and price; nothing of case; the third is asked for nothing: 1 of 3.
    assert feature_matching_ratio(
        [{"strings", "sound"}, {"sound"}, {"sound"}], [{"strings", "price"}, {"case"}, set()]
    ) == (pytest.approx(1 / 3))
    assert feature_matching_ratio([{"sound"}], [set()]) == feature_matching_ratio([], []) == 0.0


def test_feature_coverage_is_the_share_of_all_features_that_any_text_names() -> None:
    features = {"strings", "price", "case", "sound"}
    assert feature_coverage_ratio([{"strings"}, {"strings", "price", "weather"}, set()], features) == 0.5
    assert feature_coverage_ratio([{"strings"}], set()) == feature_coverage_ratio([], features) == 0.0


def test_bert_score_matches_each_token_with_the_most_similar_one() -> None:
    east, north, between = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    # precision: east 0.6, north 0.8 -> 0.7; recall: 0.8. F1 of both.
    assert bert_score([np.stack([east, north])], [between[None]]) == pytest.approx(100 * 2 * 0.7 * 0.8 / 1.5)
    same = np.stack([east, between])
    assert bert_score([same, north[None]], [same[::-1], north[None]]) == pytest.approx(100.0)
    assert bert_score([same, same[:0]], [same, same]) == pytest.approx(50.0), "a text without tokens is worth nothing"
    assert bert_score([-east[None]], [east[None]]) == bert_score([], []) == 0.0


def test_rouge_l_keeps_the_order() -> None:
    # longest common subsequence of "sound good" and "good sound": 1 -> 2 * 1 / 4
    assert rouge_l(["sound good"], ["good sound"]) == pytest.approx(50.0)
    assert rouge_n(["sound good"], ["good sound"], 1) == pytest.approx(100.0)


def test_rouge_is_a_mean_over_texts() -> None:
    assert rouge_n(["a", "b"], ["a", "c"], 1) == pytest.approx(50.0)


def test_distinct_n_is_over_all_texts_together() -> None:
    assert distinct_n(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert distinct_n(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert distinct_n([""], 1) == 0.0


def test_unique_sentences_are_compared_by_their_words() -> None:
    assert unique_sentence_ratio(["Good. Bad!", "good!", "..."]) == pytest.approx(2 / 3)


def test_copied_share_counts_runs_that_stand_in_training() -> None:
    # 3-grams of "a b c d": a-b-c stands in training, b-c-d does not.
    assert copied_share(["a b c d"], ["x a b c", "b c x d"], n=3) == pytest.approx(1 / 2)
    assert copied_share(["a b"], ["a b"], n=3) == 0.0


def test_pairs_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="generated has 2 texts, references has 1"):
        rouge_n(["a", "b"], ["a"], 1)


@given(texts)
def test_a_text_compared_with_itself_is_whole(generated: list[str]) -> None:
    spoken = [text for text in generated if words(text)]
    if spoken:
        assert rouge_n(spoken, spoken, 1) == pytest.approx(100.0)
        assert rouge_l(spoken, spoken) == pytest.approx(100.0)


@given(texts, st.integers(1, 4))
def test_shares_lie_between_0_and_1(generated: list[str], n: int) -> None:
    assert 0 <= distinct_n(generated, n) <= 1
    assert 0 <= unique_sentence_ratio(generated) <= 1
    assert copied_share(generated, generated, n) in (0.0, 1.0)


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_the_common_subsequence_is_symmetric_and_no_longer_than_either(left: list[str], right: list[str]) -> None:
    length = longest_common_subsequence(left, right)
    assert length == longest_common_subsequence(right, left) <= min(len(left), len(right))
