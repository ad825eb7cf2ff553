"""Ids of requests: whose is taken, and what is answered together."""

from __future__ import annotations

import pytest

from core.logs.requests import MAX_CHARS, answering, current_request_id, request_id_of, set_request_id


@pytest.mark.parametrize("given", ["a", "019b76da-a800-7000-8000-000000000000", "Shop_7.web-2", "x" * MAX_CHARS])
def test_the_callers_own_id_stays_where_it_is_well_formed(given: str) -> None:
    assert request_id_of(given) == given


@pytest.mark.parametrize("given", [None, "", "two words", "x" * (MAX_CHARS + 1), "a\n", 'a"b', "id=é", "a b c", "\x00"])
def test_anything_else_gets_a_new_one(given: str | None) -> None:
    first, second = request_id_of(given), request_id_of(given)
    assert given not in (first, second)
    assert first != second
    assert request_id_of(first) == first


def test_a_thread_that_works_for_several_requests_names_them_all() -> None:
    set_request_id(None)
    with answering(["a", None, "b", "a"]):
        assert current_request_id() == "a b"
        with answering([None]):
            assert current_request_id() is None
    assert current_request_id() is None
