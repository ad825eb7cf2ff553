"""The sentiment reader: what it hears, of which scripts, and when there is none."""

from __future__ import annotations

import pytest

from recommender.evaluation.feedback.sentiment import SentimentReader, puts_no_spaces, sentiment_of

PRAISE = "It is wonderful, I love the sound, number {}."
BLAME = "It broke at once, do not buy number {}."
NEITHER = "It is alright, nothing more, number {}."
TEXTS = [form.format(n) for form in (PRAISE, BLAME, NEITHER) for n in range(30)]
RATINGS = [rating for rating in (5.0, 1.5, 3.0) for _ in range(30)]


@pytest.fixture(scope="module")
def reader() -> SentimentReader:
    reader = SentimentReader.fit(TEXTS, RATINGS, seed=0)
    assert reader is not None
    assert reader.n_texts == 90
    return reader


def test_texts_that_sound_like_their_rating_agree_and_others_do_not(reader: SentimentReader) -> None:
    said = ["I love it, wonderful!", "Broke at once.", "Alright, nothing more."]
    assert reader.agreement(said, [4.0, 2.0, 3.0], 2) == 1.0
    assert reader.agreement(said, [4.0, 2.0, 3.0], 3) == 1.0
    assert reader.agreement(said, [2.0, 4.0, 3.0], 2) == 0.0
    assert reader.agreement(said, [2.0, 4.0, 3.0], 3) == pytest.approx(1 / 3)


def test_every_class_counts_the_same_however_many_texts_it_has(reader: SentimentReader) -> None:
    """Who always praises agrees with half of two classes and a third of three, however rare low ratings are."""
    said, ratings = ["I love it, wonderful!"] * 12, [5.0] * 10 + [1.0, 3.0]
    assert reader.agreement(said, ratings, 2) == 0.5
    assert reader.agreement(said, ratings, 3) == pytest.approx(1 / 3)


def test_a_class_that_nothing_is_written_for_makes_no_figure(reader: SentimentReader) -> None:
    assert reader.agreement(["I love it."], [5.0], 2) is None
    assert reader.agreement(["I love it.", "Broke."], [5.0, 1.0], 3) is None


def test_rare_classes_are_as_loud_as_frequent_ones() -> None:
    reader = SentimentReader.fit([*TEXTS, *(PRAISE.format(n) for n in range(30, 900))], [*RATINGS, *[5.0] * 870], 0)
    assert reader is not None
    assert reader.agreement(["Broke at once.", "I love it."], [1.0, 5.0], 2) == 1.0


def test_where_low_ratings_are_too_few_there_is_no_reader() -> None:
    few = [*TEXTS[:49], *TEXTS[60:]]
    ratings = [*RATINGS[:49], *RATINGS[60:]]
    assert SentimentReader.fit(few, ratings, 0) is None
    assert SentimentReader.fit([], [], 0) is None
    assert SentimentReader.fit(TEXTS, [None] * 90, 0) is None


def test_without_middle_ratings_it_reads_two_classes_alone() -> None:
    reader = SentimentReader.fit(TEXTS[:60], RATINGS[:60], 0)
    assert reader is not None
    assert reader.agreement(["Broke at once.", "I love it."], [1.0, 5.0], 2) == 1.0
    assert reader.agreement(TEXTS, RATINGS, 3) is None


def test_scripts_without_spaces_are_read_by_their_characters() -> None:
    praise, blame = "味道很好喜欢下次还来{}", "太难吃了再也不来{}"
    texts = [form.format("一二三四五六七八九十"[n % 10] * (1 + n // 10)) for form in (praise, blame) for n in range(25)]
    reader = SentimentReader.fit(texts, [5.0] * 25 + [1.0] * 25, 0)
    assert reader is not None
    assert reader.agreement(["这里难吃", "真的喜欢味道"], [1.0, 5.0], 2) == 1.0
    assert puts_no_spaces(texts)
    assert puts_no_spaces(["とても美味しいです", "อร่อยมาก"])
    assert not puts_no_spaces(["Very good 茶", "очень хорошо"])
    assert not puts_no_spaces(["12 !"])


def test_halves_between_stars_are_in_the_middle() -> None:
    assert [sentiment_of(rating) for rating in (1, 2, 2.5, 3, 3.5, 4, 5)] == [0, 0, 1, 1, 1, 2, 2]
