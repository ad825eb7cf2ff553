"""Filters by category and price, as masks over the catalogue."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.filters import CategoryIndex, ItemFilter

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


PATHS = st.lists(st.sampled_from(["A", "B", "", " ", ">", "A >"]), min_size=1, max_size=4).map(" > ".join)


@given(st.lists(st.none() | PATHS, max_size=12), st.lists(PATHS, max_size=6))
def test_the_index_finds_what_comparing_every_pair_finds(categories, wanted) -> None:
    expected = [
        any(name == one or name.startswith(f"{one} > ") for one in wanted) if name is not None else False
        for name in categories
    ]
    assert CategoryIndex(categories).items_within(wanted).tolist() == expected


class Compared(str):
    """A category that counts how often it is compared with another, or looked up."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Compared.times += 1
        return str.__hash__(self)

    def startswith(self, *args: Any) -> bool:
        Compared.times += 1
        return str.startswith(self, *args)


@pytest.mark.parametrize("n_wanted", [100, 800])
def test_each_wanted_category_is_looked_up_and_compared_with_no_other(n_wanted: int) -> None:
    """Counted and not timed: comparing 800 with 8,000 would be 6.4 million comparisons."""
    index = CategoryIndex([Compared(f"Part {number % 50} > Sub {number}") for number in range(10 * n_wanted)])
    wanted = [Compared(f"Part {number % 50} > Sub {number}") for number in range(n_wanted)]
    Compared.times = 0
    assert index.items_within(wanted).sum() == n_wanted
    assert Compared.times <= 3 * n_wanted
