import pytest

from recommender.inputs.texts import (
    PROFILE_CHARS,
    SHORT_PROFILE_CHARS,
    fit_profile,
    item_text,
    language_model_prompt,
    language_model_question,
    profile_text,
    shorten,
    tidy,
    writer_prompt,
)


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
        "country FR\noften says crisp mild\nlately Sencha; Assam"
    )


TYPICAL = profile_text(
    "country FR",
    "guitar, acoustic, electric, neck, bought",
    ["A stand for heavy guitars of any kind, with a neck rest of rubber", "Strings of nylon", "Picks, twelve of them"],
    4.25,
    ["Ernie Ball", "Musical Instruments > Guitar & Bass Accessories"],
    ["An unsuitable stand for larger guitars and basses, which is too light"],
)
PARTS = ["country FR", "gives 4.2 stars", "often says guitar", "likes Ernie", "disliked An", "lately A stand"]


def test_every_part_of_a_typical_profile_stands_in_each_prompt():
    whole = fit_profile(TYPICAL, 1000)
    assert len(whole) > 225
    prompts = {
        SHORT_PROFILE_CHARS: writer_prompt(4.0, TYPICAL, "i"),
        PROFILE_CHARS: language_model_prompt(4.0, TYPICAL, "i")[0],
    }
    for n_chars, prompt in prompts.items():
        places = [prompt.find(part[: 13 if n_chars == SHORT_PROFILE_CHARS else None]) for part in PARTS]
        assert -1 not in places, prompt
        assert places == sorted(places)
        said = fit_profile(TYPICAL, n_chars)
        assert said in prompt
        assert n_chars - 30 < len(said) <= n_chars
    assert fit_profile(TYPICAL, PROFILE_CHARS) in language_model_question(4.0, TYPICAL, "i")[0]
    assert "; Strings" in prompts[PROFILE_CHARS], "a long name leaves room for the next"


def test_a_profile_that_fits_is_whole_and_one_of_one_part_is_cut_at_a_words_end():
    assert fit_profile("country FR\nlately Sencha; Assam", 40) == "country FR. lately Sencha; Assam"
    assert fit_profile("word " * 20, 22) == "word word word word"
    assert fit_profile("", 10) == ""
    assert fit_profile("a\nb\nc", 0) == ""


def test_a_line_end_in_what_a_shop_says_begins_no_part():
    profile = profile_text("age 30\ncountry FR", "crisp\nmild", ["A\nkettle"], likes=["Tea\nCo"], dislikes=["A\ncup"])
    assert profile.split("\n") == [
        "age 30 country FR", "often says crisp mild", "likes Tea Co", "disliked A cup", "lately A kettle"
    ]  # fmt: skip


def test_prompt_says_rating_item_and_user():
    assert writer_prompt(4.0, "p", "i") == "review good, 4 stars | item: i | user: p | text:"
    assert writer_prompt(None, "p", "i") == "review unrated | item: i | user: p | text:"
