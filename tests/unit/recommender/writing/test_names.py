"""What one reviewer alone names is not learned from."""

from __future__ import annotations

import pytest

from core import schema
from recommender.writing.examples import WritingExample, WritingRequest
from recommender.writing.names import Impersonal, without_personal_data
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
    left = without_personal_data([WritingExample(REQUEST, one, user, "i1") for user, one in said], CATALOGUE)
    return next((one.text for one in left.reviews if one.user_id == "u1"), "")


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


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("It sounds fine. Call me! 5550109 is mine. I play it.", "It sounds fine. Call me! I play it."),
        ("It sounds fine. It is 555. 010. 9999, so call. I play it.", "It sounds fine. I play it."),
        ("很好喝。写quack@shop.com。还来。", "很好喝。还来。"),
    ],
)
def test_a_number_is_told_by_the_sentence_before_and_may_reach_over_its_end(text: str, left: str) -> None:
    assert left_of(text) == left


def test_a_name_that_two_reviewers_use_stays_and_one_that_a_reviewer_repeats_does_not() -> None:
    text = "Ask Quackenbush about it. It is fine."
    assert left_of(text, ("u2", "I did ask quackenbush.")) == text, "however it is written"
    assert left_of(text, ("u1", "I did ask Quackenbush.")) == "It is fine."


def test_a_review_that_is_nothing_else_is_left_out_and_counted() -> None:
    reviews = [
        WritingExample(REQUEST, text, user, "i1") for user, text in [("u1", "Ask Quackenbush. Ask Zoltan."), *OTHERS]
    ]
    assert without_personal_data(reviews, CATALOGUE) == Impersonal(reviews[1:], n_lost=2, n_read=7)
    assert without_personal_data([], CATALOGUE) == Impersonal([], 0, 0)


NOUNS = (
    ["Schraube", "Dichtung", "Halterung", "Feder", "Klappe", "Batterie", "Abdeckung", "Leiste", "Schnalle", "Taste"],
    ["screw", "gasket", "bracket", "spring", "flap", "battery", "cover", "strip", "buckle", "button"],
)


@pytest.mark.parametrize(
    ("nouns", "said"),
    [
        (NOUNS[0], "Nach zwei Wochen ist die {} kaputt gegangen."),
        (NOUNS[1], "After two weeks the {} was broken."),
        (NOUNS[0], "Leider passt die {} nicht, und der Klang ist auch ohne Schraube nicht gut."),
    ],
)
def test_nouns_with_capitals_are_no_names(nouns: list[str], said: str) -> None:
    reviews = [WritingExample(REQUEST, said.format(noun), f"u{n}", "i1") for n, noun in enumerate(nouns)]
    assert without_personal_data(reviews, CATALOGUE) == Impersonal(reviews, n_lost=0, n_read=10)


@pytest.mark.parametrize(
    "sentence",
    [
        "Danke an Hans Quackenbusch für die Hilfe.",
        "Ich habe es für meine Tochter Lena gekauft.",
        "Der Verkäufer war Herr Quackenbusch.",
        "Fragen an quack@shop.com.",
    ],
)
def test_where_nouns_have_capitals_names_are_told_by_two_of_them(sentence: str) -> None:
    others = [(f"u{n}", f"Leider ist die {noun} kaputt, und der Rest auch.") for n, noun in enumerate(NOUNS[0], 20)]
    said = [("u1", f"Der Klang ist gut. {sentence}"), *others]
    left = without_personal_data([WritingExample(REQUEST, text, user, "i1") for user, text in said], CATALOGUE)
    assert left.reviews[0].text == "Der Klang ist gut."
    assert (left.n_lost, left.n_read) == (1, 12)


@pytest.mark.parametrize("n_german", [5, 20])  # .07 and .15 of all words inside sentences have a capital
@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("I lent it to my neighbour Kowalski and he broke it.", ""),
        ("Lent it to Kowalski.", ""),
        ("Nach dem Kauf war die Wickelfeder kaputt, und der Rest auch.", None),
        ("Die Wickelfeder ist kaputt.", None),
        ("Ich habe es dem Nachbarn Kowalski geliehen.", ""),
    ],
)
def test_in_a_shop_of_two_languages_each_review_is_read_in_its_own(
    sentence: str, left: str | None, n_german: int
) -> None:
    english = [f"I lent it to a friend and the {noun} is fine, but he broke my {noun} in a week." for noun in NOUNS[1]]
    german = [f"Ich habe es nach dem Kauf geprüft: die {noun} ist gut, und der Rest auch." for noun in NOUNS[0] * 2]
    said = [("u1", sentence), *((f"u{n}", text) for n, text in enumerate([*english, *german[:n_german]], 2))]
    found = without_personal_data([WritingExample(REQUEST, text, user, "i1") for user, text in said], CATALOGUE)
    assert next((one.text for one in found.reviews if one.user_id == "u1"), "") == (sentence if left is None else left)
    assert found.n_lost == (left is not None)
