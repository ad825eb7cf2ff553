"""Filters by category and price, as masks over the catalogue."""

import time

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


def test_eight_times_the_categories_and_wanted_ones_take_no_more_than_a_linear_time() -> None:
    """Comparing each with each would take 64 times as long."""

    def seconds(n_wanted: int, n_categories: int) -> float:
        names = [f"Part {number % 50} > Sub {number}" for number in range(n_categories)]
        index, wanted = CategoryIndex(names), [f"Part 1 > Sub {number}" for number in range(n_wanted)]
        taken = []
        for _ in range(9):
            started = time.thread_time()
            for _ in range(10):
                index.items_within(wanted)
            taken.append(time.thread_time() - started)
        return min(taken)

    assert seconds(8_000, 80_000) < 24 * seconds(1_000, 10_000)
