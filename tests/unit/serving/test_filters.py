"""Filters by category and price, as masks over the catalogue."""

import pytest

from serving.filters import ItemFilter

FILTER = ItemFilter(["Cheese", "Cheese > Hard", "Cheesecake", None, "Tea > Green"], [3.0, 9.0, None, 1.0, 5.0])


@pytest.mark.parametrize(
    ("categories", "max_price", "let_through"),
    [
        (["Cheese"], None, [0, 1]),
        (["Cheese > Hard", "Tea"], None, [1, 4]),
        (["tea"], None, []),
        (None, 5.0, [0, 3, 4]),
        (None, 0.0, []),
        (["Cheese", "Cheesecake"], 5.0, [0]),
    ],
)
def test_what_comes_through(categories, max_price, let_through) -> None:
    assert FILTER.allowed(categories, max_price).nonzero()[0].tolist() == let_through


def test_without_a_filter_there_is_no_mask() -> None:
    assert FILTER.allowed(None, None) is None
