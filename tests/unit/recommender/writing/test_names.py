"""What one reviewer alone names is not learned from."""

from __future__ import annotations

import pytest

from core import schema
from recommender.writing.examples import WritingExample, WritingRequest
from recommender.writing.names import without_personal_data
from tests.unit.recommender.tiny_shop import catalogue_of

REQUEST = WritingRequest(5.0, "", "")
CATALOGUE = catalogue_of(
    [
        {
            schema.ITEM_ID: "i1",
            schema.TITLE: "Strings by Elixir",
            schema.BRAND: "Daddario",
            schema.CATEGORY: None,
            schema.ITEM_TEXT: "Ask Zebulon",
            schema.ITEM_N_EVENTS: 1,
            schema.ITEM_N_RATINGS: 0,
        }
    ]
)
ORDINARY = (
    "it is my great mark, we ask and call; it sounds like a smith, a rose; thanks to the merci, i write wonderfully"
)
OTHERS = [
    ("u8", f"I like Fender, and John said so. {ORDINARY}."),
    ("u9", f"The Fender is fine. My son John agrees. {ORDINARY}, on the other day."),
]


def left_of(text: str, *others: tuple[str, str]) -> str:
    """What is learned of a text by u1, beside these reviews and two more."""
    said = [("u1", text), *others, *OTHERS]
    kept, _ = without_personal_data([WritingExample(REQUEST, one, user, "i1") for user, one in said], CATALOGUE)
    return next((one.text for one in kept if one.user_id == "u1"), "")


@pytest.mark.parametrize(
    "sentence",
    [
        "Thanks to Quackenbush for the help.",
        "Thanks to John Smith for the help.",  # both words are used by others, the pair by nobody
        "We met Mark Rose there.",  # both words are written small by others
        "Quackenbush sold it to me.",  # opens the sentence, and nobody writes it small
        "Zebulon's shop has it.",  # a text of reviews is no title
        "I gave it to Quackenbush-Meyer.",
        "Merci à Éloïse pour tout.",
        "Write to quack@shop.com for more.",
        "Call me on +1 555-010-9999.",
    ],
)
def test_a_sentence_that_names_somebody_is_left_out(sentence: str) -> None:
    assert left_of(f"It sounds fine. {sentence} I play it daily.") == "It sounds fine. I play it daily."


@pytest.mark.parametrize(
    "sentence",
    [
        "I play a Fender too.",  # others name it as well
        "My Daddario strings and the Elixir ones.",  # brand and title
        "Wonderfully made!",  # would be a name if nobody else wrote it small
        "Great Sound For The Money",  # a heading in title case, of ordinary words
        "I love it, and I mean it.",
        "很好喝，下次还来。",
        "Sized 10-13-17-26-36-46.",
    ],
)
def test_what_is_no_name_or_is_everybodys_stays(sentence: str) -> None:
    more = ("u7", "sized for the money and the sound"), ("u6", "so sized for the money and the sound")
    assert left_of(sentence, *more) == sentence


def test_a_name_that_two_reviewers_use_stays_and_one_that_a_reviewer_repeats_does_not() -> None:
    text = "Ask Quackenbush about it. It is fine."
    assert left_of(text, ("u2", "I did ask quackenbush.")) == text, "however it is written"
    assert left_of(text, ("u1", "I did ask Quackenbush.")) == "It is fine."


def test_a_review_that_is_nothing_else_is_left_out_and_counted() -> None:
    reviews = [
        WritingExample(REQUEST, text, user, "i1") for user, text in [("u1", "Ask Quackenbush. Ask Zoltan."), *OTHERS]
    ]
    kept, n_lost = without_personal_data(reviews, CATALOGUE)
    assert kept == reviews[1:]
    assert n_lost == 2
    assert without_personal_data([], CATALOGUE) == ([], 0)
