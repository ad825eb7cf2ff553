"""Scales of ratings and the decimal mark of prices, from the values alone."""

import pytest

from validation.profile.values.column import Column
from validation.profile.values.numbers import read_money, read_scale


def column(counts: dict[str, int], name: str = "rating") -> Column:
    n = sum(counts.values())
    common = tuple(sorted(counts.items(), key=lambda pair: -pair[1]))
    return Column(name, n, n, len(counts), 0.0, 0.0, 3.0, 0.0, common, tuple(counts))


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        (["1", "2", "3", "4", "5"], None),
        (["1.0", "3.5", "5.0"], None),
        (["0.5", "3", "4.5", "5"], (0.5, 5.0)),
        (["0", "3", "5"], (0.0, 5.0)),
        (["1", "7", "10"], (1.0, 10.0)),
        (["0", "7", "10"], (0.0, 10.0)),
        (["0,5", "7,5", "9"], (0.5, 10.0)),
        (["3", "14", "17"], (0.0, 20.0)),
        (["55", "80", "95", "100"], (0.0, 100.0)),
        (["0", "1"], (0.0, 1.0)),
        (["-1", "1"], (-1.0, 1.0)),
        (["1.0 out of 5 stars", "4.0 out of 5 stars"], None),
        (["1/10", "8/10", "10/10"], (0.5, 5.0)),
        (["★", "★★★★½", "★★★★★"], None),
    ],
)
def test_the_scale_is_one_of_the_usual_ones(values, ends):
    assert read_scale(column(dict.fromkeys(values, 10))).ends == ends


@pytest.mark.parametrize("values", [["1", "250", "9000"], ["red", "blue"], ["1"] * 1 + ["x", "y"]])
def test_what_is_no_rating_has_no_scale(values):
    assert read_scale(column(dict.fromkeys(values, 10))) is None


def test_thumbs_are_the_ends_of_the_scale():
    scale = read_scale(column({"Like": 30, "Dislike": 10}))
    assert scale.words == {"Like": "5", "Dislike": "1"}


def test_one_word_among_numbers_is_named():
    scale = read_scale(column({"5": 400, "4": 200, "1": 100, "Like": 1}))
    assert scale.unread == (("Like", 1),)
    assert scale.words == {}


def test_zeros_that_stand_out_are_noticed():
    assert read_scale(column({"0": 620, "8": 200, "10": 150, "1": 5})).zeros == pytest.approx(620 / 975)
    assert read_scale(column({"0": 10, "1": 12, "5": 60, "10": 30})).zeros == 0


@pytest.mark.parametrize(
    ("values", "comma", "is_open"),
    [
        (["12.50", "3", "1299.00"], False, False),
        (["12,50 €", "1.299,00 €", "3"], True, False),
        (["$1,299.00", "$3.50"], False, False),
        (["1,300", "800", "1,200"], False, False),
        (["1.299", "2.499"], False, True),
        (["12.50 €", "12,50"], False, False),
        (["USD 12.50", "12"], False, False),
    ],
)
def test_the_decimal_mark_of_prices(values, comma, is_open):
    money = read_money(values)
    assert (money.decimal_comma, money.is_open) == (comma, is_open)
    assert money.share == 1.0


def test_words_are_no_prices():
    assert read_money(["free", "on request"]).share == 0
