"""Which statements of a text somebody else makes of the item."""

from __future__ import annotations

import pytest

from recommender.evaluation.feedback.statements import Evidence, Support
from recommender.writing.examples import WritingExample, WritingRequest
from tests.unit.recommender.evaluation.feedback.reviews import review

REAL = review("It has a great neck. The strings are terrible.", item="i1")
OTHERS = [
    review("The neck is wonderful.", item="i1", user="u2"),
    review("A terrible neck, but a lovely bridge.", item="i2", user="u2"),
    review("The finish is beautiful.", item="i1", user="u3"),
]
EVIDENCE = Evidence([REAL, *OTHERS])


@pytest.mark.parametrize(
    ("text", "supported", "stated"),
    [
        ("The neck is excellent.", 1, 1),
        ("The neck is terrible.", 0, 1),  # that is said of another item
        ("A lovely bridge.", 0, 1),
        ("The guitar neck is excellent and the strings are awful.", 2, 2),
        ("The neck is excellent. A great neck!", 1, 1),  # said twice
        ("I bought it in May.", 0, 0),
    ],
)
def test_a_statement_is_supported_where_a_review_of_the_item_praises_or_blames_the_same(
    text: str, supported: int, stated: int
) -> None:
    assert EVIDENCE.support([text], [REAL]) == Support(supported, stated)


def test_the_items_own_text_supports_what_it_says() -> None:
    described = WritingExample(WritingRequest(5.0, "", "A guitar with excellent tuners"), "", "u1", "i9")
    said = ["The tuners are excellent.", "The tuners are awful.", "The strings are excellent."]
    assert EVIDENCE.support(said, [described] * 3) == Support(1, 3)


def test_a_real_review_does_not_support_itself_where_it_is_left_out() -> None:
    own = EVIDENCE.support([REAL.text], [REAL], without_own=True)
    assert own == Support(1, 2), "the neck is praised by another one, the strings are spoken of by nobody else"
    assert own.precision == 0.5
    assert EVIDENCE.support([REAL.text], [REAL]).precision == 1.0
    assert Support(0, 0).precision is None


def test_features_are_the_aspects_that_are_judged() -> None:
    said = [REAL.text, "The guitar neck is lovely.", "Bought it in May."]
    assert EVIDENCE.features(said) == [{"neck", "string"}, {"neck"}, set()]


def test_a_plural_of_another_spelling_is_found() -> None:
    evidence = Evidence([review("The batteries are terrible.", item="i1")])
    assert evidence.support(["A terrible battery."], [REAL]) == Support(1, 1)
