"""Ids that sort by their time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import RFC_4122, UUID, uuid4

from core.ids import moment_of_id, time_ordered_id


def test_an_id_is_a_uuid_of_version_7_that_holds_its_time() -> None:
    before = time.time_ns() // 1_000_000
    given = UUID(time_ordered_id())
    after = time.time_ns() // 1_000_000
    assert (given.version, given.variant) == (7, RFC_4122)
    assert before <= given.int >> 80 <= after


def test_ids_sort_by_time_and_none_comes_twice(monkeypatch) -> None:
    now = iter(range(1_000_000_000_000_000_000, 1_000_000_005_000_000_000, 1_000_000))
    monkeypatch.setattr("core.ids.time.time_ns", lambda: next(now))
    ids = [time_ordered_id() for _ in range(5000)]
    assert ids == sorted(ids)
    monkeypatch.setattr("core.ids.time.time_ns", lambda: 1_000_000_000_000_000_000)
    assert len({time_ordered_id() for _ in range(5000)}) == 5000


def test_ids_of_one_moment_and_of_a_clock_that_goes_back_are_in_order(monkeypatch) -> None:
    moments = [2_000_000_000_000_000_000] * 10_000 + [1_999_999_000_000_000_000] * 100
    monkeypatch.setattr("core.ids._last", 0)
    monkeypatch.setattr("core.ids.time.time_ns", iter(moments).__next__)
    ids = [time_ordered_id() for _ in moments]
    assert ids == sorted(set(ids))


def test_an_id_tells_when_it_was_given(monkeypatch) -> None:
    monkeypatch.setattr("core.ids._last", 0)
    monkeypatch.setattr("core.ids.time.time_ns", lambda: 1_767_268_800_250_000_000)
    given = time_ordered_id()
    assert moment_of_id(given) == datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    assert [moment_of_id(one) for one in ("00", given[:-1], str(uuid4()), f"ffffffff-ffff-7{given[15:]}")] == [None] * 4
