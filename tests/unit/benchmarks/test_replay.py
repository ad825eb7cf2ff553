"""A past is led through a platform in its order, and what was shown before each event is what counts."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.replay import past
from benchmarks.replay.__main__ import replay
from core.schema import TABLES

OPENS = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EVENTS = [
    ("e1", "u1", "a", -3 * DAY),
    ("e2", "u2", "b", -1 * DAY),
    ("e3", "u1", "b", 0 * DAY),
    ("e4", "u1", "a", 1 * DAY),  # had it before
    ("e5", "u2", "c", 2 * DAY),
    ("e6", "u3", "a", 30 * DAY),
    ("e7", "u1", "c", 60 * DAY),  # after the replay
]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    folder = tmp_path / "clean"
    folder.mkdir()
    kind = TABLES["interactions"].arrow()
    rows = [
        {"event_id": event, "user_id": user, "item_id": item, "event": "purchase", "timestamp": OPENS + after}
        for event, user, item, after in reversed(EVENTS)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), folder / "interactions.parquet")
    pq.write_table(pa.table({"item_id": ["a", "b", "c"]}), folder / "items.parquet")
    return folder


def test_the_base_ends_where_the_replay_begins(clean: Path, tmp_path: Path) -> None:
    base = past.write_base(clean, tmp_path / "base", OPENS, 0)
    assert sorted(pq.read_table(base / "interactions.parquet")["event_id"].to_pylist()) == ["e1", "e2"]
    assert pq.read_table(base / "items.parquet").num_rows == 3


def test_periods_hold_what_happened_in_order(clean: Path) -> None:
    periods = list(past.read_periods(clean, OPENS, 2, 30 * DAY, 0))
    assert [[event.event_id for event in period.events] for period in periods] == [["e3", "e4", "e5"], ["e6"]]
    assert [event.is_new for event in periods[0].events] == [True, False, True]


def test_the_same_users_are_drawn_for_both_parts(clean: Path, tmp_path: Path) -> None:
    base = past.write_base(clean, tmp_path / "base", OPENS, 2)
    before = set(pq.read_table(base / "interactions.parquet")["user_id"].to_pylist())
    after = {event.user_id for period in past.read_periods(clean, OPENS, 3, 30 * DAY, 2) for event in period.events}
    assert len(before | after) == 2


class _Platform:
    """Shows b, c, a to everybody; knows what it was told before each question."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.known_when_asked: list[tuple[str, int]] = []
        self.started: list[str] = []

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        if path == "/v1/timeline":
            return {
                "entries": [{"id": 1 + len(self.started), "kind": "gate", "subject": "fine-tune", "state": "promoted"}]
            }
        assert body is not None
        if path == "/v1/events":
            self.told += [one["event_id"] for one in body["events"]]
            return {}
        self.known_when_asked.append((body["user_id"], len(self.told)))
        return {"items": [{"item_id": item} for item in "bca"], "recommendation_id": "r1"}

    def run(self, deployment: str) -> None:
        self.started.append(deployment)

    def wait_until_idle(self) -> None:
        self.started.append("idle")

    def runs(self) -> list[dict[str, Any]]:
        return [{"total_run_time": 30.0} for _ in self.started]


@pytest.mark.parametrize(
    ("mode", "after_each"),
    [
        ("loop", ["refresh-features", "monitor", "idle"]),
        ("schedule", ["refresh-features", "fine-tune"]),
        ("frozen", ["refresh-features"]),
    ],
)
def test_users_are_asked_before_they_choose_and_the_end_of_a_period_is_the_modes(
    clean: Path, mode: str, after_each: list[str]
) -> None:
    platform: Any = _Platform()
    rows = list(replay(platform, mode, past.read_periods(clean, OPENS, 2, 30 * DAY, 0)))
    assert [row.asked for row in rows] == [2, 1]
    # u1 chose what stood first, u2 what stood second, u3 what stood third.
    assert rows[0].gains == pytest.approx((1.0, 1 / math.log2(3)))
    assert rows[1].gains == pytest.approx((0.5,))
    assert platform.told == ["e3", "e4", "e5", "e6"]
    assert [user for user, _ in platform.known_when_asked] == ["u1", "u2", "u3"]
    assert platform.started == after_each * 2
    assert rows[0].minutes == pytest.approx(len(after_each) / 2)
    assert rows[0].happened == ("gate fine-tune: promoted",)
