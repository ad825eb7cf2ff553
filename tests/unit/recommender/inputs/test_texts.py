import pytest

from recommender.inputs.texts import item_text, profile_text, shorten, tidy, writer_prompt


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (None, ""),
        ("", ""),
        ("  a\n\tb ", "a b"),
        ("6&#34; cable &amp; plug", '6" cable & plug'),
        ("It works.Really!Yes", "It works. Really! Yes"),
        ("version 2.5 of U.S.A.", "version 2.5 of U.S.A."),
    ],
)
def test_tidy(raw, clean):
    assert tidy(raw) == clean


def test_tidy_twice_is_tidy_once():
    text = "It works.Really! &quot;6&quot;"
    assert tidy(tidy(text)) == tidy(text)


def test_shorten_cuts_at_a_words_end():
    assert shorten("green tea leaves", 9) == "green tea"
    assert shorten("green tea leaves", 12) == "green tea"
    assert shorten("green", 5) == "green"
    assert shorten("unbreakable", 5) == "unbre"


def test_item_text_reads_title_brand_category_description():
    text = item_text("Sencha.", "Leaf", "Tea > Green", "Fresh &amp; mild.", ["not read"], 400)
    assert text == "Sencha. Leaf, Tea > Green. Fresh & mild"


def test_item_text_reads_reviews_only_where_the_shop_gives_no_words():
    assert item_text(None, None, None, None, ["Good strings.", "Bright sound"], 400) == "Good strings. Bright sound"
    assert item_text(None, None, None, "A string", ["Good strings"], 400) == "A string"
    assert item_text(None, None, None, None, [], 400) == ""


def test_item_text_keeps_to_its_length():
    assert len(item_text("word " * 100, "b", "c", "d" * 500, [], 120)) <= 120
    assert len(item_text(None, None, None, None, ["long review " * 40] * 3, 120)) <= 120


def test_profile_leaves_out_what_is_not_known():
    assert profile_text("", "", []) == ""
    assert profile_text("country FR", "crisp mild", ["Sencha", "Assam"]) == (
        "country FR. often says crisp mild. lately Sencha; Assam"
    )


def test_prompt_says_rating_item_and_user():
    assert writer_prompt(4.0, "p", "i") == "review good, 4 stars | item: i | user: p | text:"
    assert writer_prompt(None, "p", "i") == "review unrated | item: i | user: p | text:"
