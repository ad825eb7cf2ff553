"""Where a shop's events end: a handful long after the others does not move it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import TABLES
from monitoring.drift import live_end
from monitoring.extent import LEAST_DAYS, LEAST_USERS, LONGEST_SILENCE_DAYS, Extent, find_extent

START = datetime(2025, 1, 1, 12, tzinfo=UTC)
USUAL = 40  # users a day
LAST = START + timedelta(days=9)


def _shop(folder: Path, later: dict[float, int], usual: int = USUAL) -> Path:
    """Ten days of so many users, and users some days after the last of them."""
    told = [(START + timedelta(days=day), user) for day in range(10) for user in range(usual)]
    told += [(LAST + timedelta(days=days), user) for days, users in later.items() for user in range(users)]
    rows = [
        {"event_id": f"e{n}", "user_id": f"u{user}", "item_id": "i", "event": "view", "timestamp": at, "position": n}
        for n, (at, user) in enumerate(told)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=TABLES["interactions"].arrow()), folder / "interactions.parquet")
    return folder


LATE = LONGEST_SILENCE_DAYS + 1.0


@pytest.mark.parametrize(
    ("later", "days_after", "n_late"),
    [
        ({}, 0, 0),
        ({LATE: 3}, 0, 3),
        ({LATE: 3, LATE + 1: 3}, 0, 6),  # the same three people again
        ({LATE: 3, 3 * LATE: 2}, 0, 5),
        ({LATE: USUAL - 1}, 0, USUAL - 1),  # fewer than a usual day has
        ({LATE: USUAL}, LATE, 0),  # the shop goes on
        ({LATE: USUAL, 2 * LATE + 1: 2}, LATE, 2),
        ({LONGEST_SILENCE_DAYS: 1}, LONGEST_SILENCE_DAYS, 0),  # no long silence
    ],
)
def test_only_events_with_which_a_shop_goes_on_move_its_end(
    tmp_path: Path, later: dict[float, int], days_after: float, n_late: int
) -> None:
    found = find_extent(_shop(tmp_path, later))
    assert (found.first, found.newest) == (START, LAST + timedelta(days=days_after))
    assert (found.late_events, bool(found.note)) == (n_late, n_late > 0)


@pytest.mark.parametrize(
    ("users", "n_days", "goes_on"),
    [
        (25, LEAST_DAYS, True),  # the same regulars each day
        (25, LEAST_DAYS - 1, False),  # may be few yet
        (LEAST_USERS // 2, LEAST_DAYS, True),
        (LEAST_USERS // 2 - 1, 100, False),  # not half as many as a signal wants
    ],
)
def test_a_shop_goes_on_with_few_users_who_come_for_weeks(
    tmp_path: Path, users: int, n_days: int, goes_on: bool
) -> None:
    found = find_extent(_shop(tmp_path, {LATE + day: users for day in range(n_days)}))
    assert (found.newest == LAST + timedelta(days=LATE + n_days - 1)) == goes_on
    assert (found.late_users == 0) == goes_on


def test_a_shop_that_is_smaller_than_signals_want_goes_on_with_half_of_its_users(tmp_path: Path) -> None:
    folder = _shop(tmp_path, {LATE + day: 2 for day in range(LEAST_DAYS)}, usual=4)
    assert find_extent(folder).newest == LAST + timedelta(days=LATE + LEAST_DAYS - 1)


def test_users_are_counted_beside_a_silence_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("monitoring.extent._usual_users", lambda *told: asked.append(told[2]) or 40.0)
    find_extent(_shop(tmp_path, {20: 3}))
    assert asked == []
    find_extent(_shop(tmp_path, {LATE: 3}))
    assert asked == ["<"]


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    note = find_extent(_shop(tmp_path, {100: 3, 101: 3})).note
    assert note.startswith("Left out: 6 events of 3 users from 2025-04-20 on, after 100 days without any.")
    assert note.endswith("the windows end at 2025-01-10.")


def test_a_click_of_now_makes_no_past_live_and_a_shop_that_goes_on_is(tmp_path: Path) -> None:
    now = LAST + timedelta(days=150, minutes=7)
    assert live_end(find_extent(_shop(tmp_path, {150: 5})), now) is None
    extent = find_extent(_shop(tmp_path, {150: USUAL}))
    assert live_end(extent, now) == now - timedelta(minutes=7) + timedelta(microseconds=1)


def test_no_event_has_no_end(tmp_path: Path) -> None:
    pq.write_table(TABLES["interactions"].arrow().empty_table(), tmp_path / "interactions.parquet")
    assert find_extent(tmp_path) == Extent()
    assert LEAST_USERS < USUAL
