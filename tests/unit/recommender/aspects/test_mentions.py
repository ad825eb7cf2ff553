"""What several reviewers of an item speak of."""

from __future__ import annotations

from pathlib import Path

import pytest

from recommender.aspects.mentions import MENTIONS_FILE, Mentions, ReviewerCounts

GOOD, BAD = "The strings are great.", "The strings are terrible."


def counted(*reviews: tuple[str, str], least: int = 2, **more: object) -> ReviewerCounts:
    counts = ReviewerCounts(least, **more)  # type: ignore[arg-type]
    for reviewer, text in reviews:
        counts.add("drum", reviewer, text)
    return counts


def test_what_several_reviewers_like_and_dislike_is_mentioned():
    counts = counted(
        ("ann", "The sound is great. The tuner is terrible."),
        ("bob", "The tuner is terrible. The sound is great and the price is great."),
        ("cid", "The sound is wonderful."),
    )
    assert counts.mentions("drum") == "sound (liked); tuner (disliked)"
    assert counts.mentions("lute") == ""


def test_a_reviewer_counts_once_and_whoever_says_both_says_neither():
    assert counted(("ann", GOOD), ("ann", GOOD)).mentions("drum") == ""
    assert counted(("ann", GOOD), ("bob", GOOD), ("bob", BAD)).mentions("drum") == ""
    assert counted(("ann", GOOD), ("bob", GOOD)).mentions("drum") == "string (liked)"


def test_an_aspect_that_as_many_like_as_dislike_is_not_mentioned():
    both = [("ann", GOOD), ("bob", GOOD), ("cid", BAD), ("dan", BAD)]
    assert counted(*both).mentions("drum") == ""
    assert counted(*both, ("eve", GOOD)).mentions("drum") == "string (liked)"


def test_who_asks_is_left_out():
    counts = counted(("ann", GOOD), ("bob", GOOD))
    assert counts.mentions("drum", without="ann") == ""
    assert counts.mentions("drum", without="zoe") == "string (liked)"
    counts = counted(("ann", GOOD), ("bob", GOOD), ("cid", BAD), ("dan", BAD))
    assert counts.mentions("drum", without="ann") == "string (disliked)"


@pytest.mark.parametrize("language", ["en", "none"])
def test_a_language_that_is_not_read_mentions_nothing(language: str):
    german = [(name, "Die Saiten sind gut, und der Klang ist auch sehr gut.") for name in ("ann", "bob")]
    assert counted(*german, language=language).mentions("drum") == ""
    english = counted(("ann", GOOD), ("bob", GOOD), language=language)
    assert english.mentions("drum") == ("string (liked)" if language == "en" else "")
    assert len(english.of_all()) == (language == "en")


def test_saved_and_loaded_they_are_the_same_and_name_nobody(tmp_path: Path):
    counted(("ann", GOOD), ("bob", GOOD)).of_all().save(tmp_path)
    assert Mentions.load(tmp_path).of("drum") == "string (liked)"
    assert Mentions.load(tmp_path).of("lute") == ""
    assert "ann" not in (tmp_path / MENTIONS_FILE).read_text()
