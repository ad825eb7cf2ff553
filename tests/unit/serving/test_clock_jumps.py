"""The machine's clock is set back or forward an hour while the service runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from core import ids
from core.events import as_kept
from core.logs import events as event_log
from core.logs.events import EventLog
from core.settings.features import FeatureSettings, SeenSettings
from core.settings.platform import Rate
from core.settings.tree import Recipe
from core.timing.circuit import CircuitBreaker
from core.timing.clock import CLOCK
from features.counting.streams import DAY_US
from features.item_matrix import ItemMatrix
from recommender.inputs.ids import IdMap
from serving.api import events as api_events
from serving.api.events import EventsRequest
from serving.api.recommend import RecommendRequest
from serving.errors import BadRequest
from serving.experiments import desk
from serving.guard.rates import TokenBuckets
from serving.lists import circumstances
from tests.unit.serving.fake_engine import ids_of, make

HOUR = timedelta(hours=1)
SetBy = Callable[[timedelta], None]


@pytest.fixture
def set_by(monkeypatch: pytest.MonkeyPatch) -> SetBy:
    """Sets the clock: by how much it differs from the right time."""
    right, right_ns = time.time, time.time_ns
    off = timedelta()

    def set_it(by: timedelta) -> None:
        nonlocal off
        off = by

    # Both remember the latest time they saw, which here is an hour of the future.
    monkeypatch.setattr(ids, "_last", ids._last)
    monkeypatch.setattr(CLOCK, "_started", CLOCK._started)
    monkeypatch.setattr(CLOCK, "_newest", CLOCK._newest)
    monkeypatch.setattr(CLOCK, "_apart", CLOCK._apart)
    monkeypatch.setattr(time, "time", lambda: right() + off.total_seconds())
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + int(off.total_seconds()) * 10**9)
    for module in (api_events, event_log, circumstances, desk):
        if hasattr(module, "datetime"):
            monkeypatch.setattr(module, "datetime", ClockDatetime)
    CLOCK.now()
    return set_it


class ClockDatetime(datetime):
    """`datetime`, whose present is as `time` has it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> ClockDatetime:
        return cls.fromtimestamp(time.time(), tz)


def event(name: str, moment: datetime | None = None) -> EventsRequest:
    told = {} if moment is None else {"timestamp": moment.isoformat()}
    body = {"events": [{"event_id": name, "user_id": "u", "item_id": "i", "event": "view", **told}]}
    # As it comes over HTTP: in strict mode a time is a text only there.
    return EventsRequest.model_validate_json(json.dumps(body))


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_an_event_with_the_right_time_is_taken(set_by: SetBy, by: timedelta) -> None:
    right = datetime.now(UTC)
    set_by(by)
    (kept,) = event("a", right).interactions()
    assert kept.timestamp == right
    with pytest.raises((BadRequest, ValueError), match="more than 5 minutes in the future"):
        event("b", right + 2 * HOUR).interactions()


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_events_without_a_time_keep_their_order_and_none_is_lost(set_by: SetBy, by: timedelta, tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    sent = []
    for number in range(6):
        if number == 2:
            set_by(by)
        if number == 4:
            set_by(timedelta())
        sent.append(f"e{number}")
        assert len(log.append(event(sent[-1]).interactions())) == 1
    assert log.append(event("e3").interactions()) == [], "sent again, it is a duplicate"
    logged = [one for _, one in log.read()]
    log.close()
    assert [one.event_id for one in logged] == sent
    assert [one.event_id for one in sorted(logged, key=lambda one: one.timestamp)] == sent
    assert len({one.timestamp for one in logged}) == len(sent)
    assert all(as_kept(one) is not None for one in logged)


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_a_client_that_says_now_is_answered(set_by: SetBy, by: timedelta) -> None:
    engine = make()
    seen = SeenSettings(within_days=30)
    cast(Any, engine.bundle.manifest).recipe = Recipe(features=FeatureSettings(seen=seen))
    now = datetime.now(UTC)
    set_by(by)
    answer = engine.recommend(RecommendRequest.model_validate({"user_id": "known", "k": 3, "context": {"time": now}}))
    assert len(ids_of(answer)) == 3


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_limits_lock_nobody_out_and_a_store_is_asked_again(set_by: SetBy, by: timedelta) -> None:
    buckets, breaker = TokenBuckets(Rate(per_s=20.0, burst=1)), CircuitBreaker(0.05)
    assert buckets.take("key") == 0.0
    assert breaker.failed("gone")
    set_by(by)
    assert buckets.take("key") <= 0.05
    assert breaker.wait_s <= 0.05
    time.sleep(0.06)
    assert buckets.take("key") == 0.0
    assert breaker.allows()


def test_the_day_before_is_counted_once_where_the_clock_is_set_back_over_midnight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix, ids = ItemMatrix((1, 7)), IdMap(("a", "b"))
    counted: list[int] = []

    def count(rows: Any, today: int) -> np.ndarray:
        counted.append(len(rows))
        return np.zeros((len(rows), 2), dtype=np.int64)

    def ask(day: int, clock: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: clock * DAY_US * 1000)
        matrix.popularity(ids, day * DAY_US)

    monkeypatch.setattr(matrix, "_count", count)
    for clock, again in ((100, 1), (101, 1), (100, 1), (101, 1)):
        counted.clear()
        for _ in range(5):
            ask(clock, clock)
        assert len(counted) == again, clock
    counted.clear()
    ask(400, clock=101)  # a list for another moment
    for _ in range(5):
        ask(101, clock=101)
    assert len(counted) == 1, "what is counted for the present stays"
