"""The machine's clock, as the tests of logs set it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

import pytest

from core.logs import timeline
from core.timing.clock import CLOCK

SetClock = Callable[[timedelta], None]


class _ClockDatetime(datetime):
    """`datetime`, whose present is as `time` has it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> _ClockDatetime:
        return cls.fromtimestamp(time.time(), tz)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets this process's clock ahead by so much, while no time passes."""
    right = time.time

    def set_by(ahead: timedelta) -> None:
        monkeypatch.setattr(time, "time", lambda: right() + ahead.total_seconds())

    monkeypatch.setattr(timeline, "datetime", _ClockDatetime)
    for remembered in ("_started", "_newest", "_apart"):
        monkeypatch.setattr(CLOCK, remembered, getattr(CLOCK, remembered))
    return set_by
