"""The language of a text."""

import pytest

from core.languages import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Great guitar for the price", "english"),
        ("Ich war in dem Laden, und die Bedienung war so nett, wie man es will", "german"),
        ("Es un producto muy bueno, a mi me gusta", "spanish"),
        ("THE best of ALL", "english"),
        ("很好喝，下次还会买", None),
        ("Lamp 5", None),
        ("", None),
    ],
)
def test_the_language_of_most_stop_words_is_that_of_the_text(text, language):
    assert language_of(text) == language
