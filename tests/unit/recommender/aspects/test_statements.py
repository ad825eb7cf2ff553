"""What reviewers of items state alike, and the share of a text that it supports."""

from __future__ import annotations

from pathlib import Path

import pytest

from recommender.aspects.statements import STATEMENTS_FILE, KnownStatements, polarity_of, statements_of

GOOD, BAD = "The strings are great.", "The strings are terrible."


def test_a_text_states_each_side_of_an_item_once():
    assert list(statements_of(f"{GOOD} The strings are wonderful. The tone is awful.")) == [
        ("string", True),
        ("tone", False),
    ]
    assert not statements_of("I bought it in May. 很好。")


def test_what_one_reviewer_states_is_not_known():
    known = KnownStatements.of([("drum", "ann", GOOD), ("drum", "ann", f"Again: {GOOD}"), ("lute", "bob", GOOD)])
    assert known.supported_share("drum", (), GOOD) == pytest.approx(0.5 / 2)
    known = KnownStatements.of([("drum", "ann", GOOD), ("drum", "bob", GOOD), ("lute", "bob", BAD)])
    assert known.supported_share("drum", (), GOOD) == pytest.approx(1.5 / 2)
    assert known.supported_share("drum", (), BAD) == pytest.approx(0.5 / 2), "praise supports no blame"
    assert known.supported_share("lute", (), GOOD) == pytest.approx(0.5 / 2), "of another item"


def test_the_items_own_words_support_what_they_say():
    known = KnownStatements({})
    assert known.supported_share("drum", {"great", "strings"}, GOOD) == pytest.approx(1.5 / 2)
    assert known.supported_share("drum", {"strings"}, GOOD) == pytest.approx(0.5 / 2)


def test_a_text_that_states_nothing_stands_between_the_supported_and_the_unsupported():
    known = KnownStatements({"drum": [("string", True)]})
    shares = [known.supported_share("drum", (), text) for text in (BAD, "I bought it in May.", GOOD)]
    assert shares == sorted(shares)
    assert len(set(shares)) == 3


def test_saved_and_loaded_they_are_the_same(tmp_path: Path):
    known = KnownStatements.of([("drum", "ann", GOOD), ("drum", "bob", GOOD)])
    known.save(tmp_path)
    assert "ann" not in (tmp_path / STATEMENTS_FILE).read_text()
    assert KnownStatements.load(tmp_path).supported_share("drum", (), GOOD) == pytest.approx(1.5 / 2)


def test_words_praise_and_blame():
    assert polarity_of("Terrible, awful.") < 0 < polarity_of("Great, wonderful.")
    assert polarity_of("很好") == polarity_of("") == 0
