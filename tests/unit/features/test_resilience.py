"""What is kept of the rows that were read."""

from __future__ import annotations

import pytest

from features.resilience import KeptRows

ROWS = ["h" * 500, None, b"s" * 500]
ROOM = 5 * 1500


def test_the_newest_rows_of_a_user_are_kept() -> None:
    kept = KeptRows(ROOM)
    kept.keep("a", ["old", None, None])
    kept.keep("a", ROWS)
    assert (kept.of("a"), kept.of("b"), len(kept)) == (ROWS, None, 1)


def test_who_was_not_read_for_longest_goes_first() -> None:
    kept = KeptRows(ROOM)
    for user in "abcde":
        kept.keep(user, ROWS)
    kept.keep("a", ROWS)
    kept.keep("f", ROWS)
    assert kept.of("b") is None
    assert [user for user in "abcdef" if kept.of(user)] == list("acdef")


def test_room_that_is_freed_is_used_again() -> None:
    kept = KeptRows(ROOM)
    for _ in range(100):
        kept.keep("a", ROWS)
        kept.keep("b", ROWS)
        kept.drop("b")
    for user in "cdef":
        kept.keep(user, ROWS)
    assert [user for user in "abcdef" if kept.of(user)] == list("acdef")


def test_a_user_without_rows_is_not_kept() -> None:
    kept = KeptRows(ROOM)
    kept.keep("a", ROWS)
    kept.keep("a", [None, None, None])  # erased meanwhile
    assert (kept.of("a"), len(kept)) == (None, 0)


@pytest.mark.parametrize("room", [0, 1000])
def test_rows_that_do_not_fit_are_not_kept(room: int) -> None:
    kept = KeptRows(room)
    kept.keep("a", ROWS)
    assert len(kept) == 0
