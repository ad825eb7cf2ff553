import numpy as np
import pytest

from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from recommender.metrics.top_k import ListFilters, best_items, leave_out

IDS = IdMap(("a", "b", "c", "d"))
USERS = (UserState.from_history(["a"]), UserState.from_history(["c", "unknown"]))
ALL_BUT_C = [True, True, False, True]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["bcd", "abd"]),
        ({"exclude_seen": False}, ["abcd", "abcd"]),
        ({"exclude": [["b", "unheard of"], []]}, ["cd", "abd"]),
        ({"exclude": None, "allowed": None}, ["bcd", "abd"]),
        ({"allowed": np.array([True, True, False, False])}, ["b", "ab"]),
        (
            {"allowed": np.array([True, True, False, True]), "exclude": [["b"], ["d"]], "exclude_seen": False},
            ["ad", "ab"],
        ),
    ],
)
def test_each_filter_leaves_out_what_it_says(filters: ListFilters, expected: list[str]):
    kept = leave_out(np.ones((2, 4), dtype=bool), False, USERS, IDS, **filters)
    assert ["".join(name for name, is_kept in zip(IDS, row, strict=True) if is_kept) for row in kept] == expected
    scores = np.tile(np.arange(4, 0, -1, dtype=np.float32), (2, 1))
    lists = best_items(scores, USERS, IDS, 4, **filters)
    assert ["".join(name for name, _ in row) for row in lists] == expected


def test_lists_are_the_best_first_with_their_scores():
    scores = np.array([[9.0, 1.0, 3.0, 2.0], [1.0, 2.0, 9.0, 2.0]], dtype=np.float32)
    assert best_items(scores, USERS, IDS, 2) == [[("c", 3.0), ("d", 2.0)], [("b", 2.0), ("d", 2.0)]]
