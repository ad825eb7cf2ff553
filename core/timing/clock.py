"""The time of day for what has to stay in order while the machine's clock is set back or forward."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

_SLOWED = 0.5


class SteadyClock:
    """The machine's clock, but for its jumps. Safe to share between threads.

    Durations are not for this: they are measured by `time.monotonic`, which knows no jumps.

    Args:
        wall: The machine's clock, seconds since 1970; `time.time` by default.
        monotonic: Seconds since some moment; `time.monotonic` by default. It knows no jumps, and stands still while the
            machine sleeps.
    """

    def __init__(self, wall: Callable[[], float] | None = None, monotonic: Callable[[], float] | None = None) -> None:
        self._own_wall, self._own_monotonic = wall, monotonic
        self._lock = threading.Lock()
        self._started = self._newest = self._wall(), self._monotonic()

    def now(self) -> datetime:
        """The time, which never goes back: after the clock was set back it runs on at half its speed until the clock
        has caught up, so that what comes later has the later time.
        """
        with self._lock:
            wall, monotonic = self._wall(), self._monotonic()
            before, then = self._newest
            shown = max(wall, before + (monotonic - then) * _SLOWED)
            self._newest = shown, monotonic
        return datetime.fromtimestamp(shown, UTC)

    def latest(self) -> datetime:
        """The time by the clock or by what has passed since the start, whichever is later: others, whose clocks were
        not set back with ours, are not ahead of it.
        """
        return datetime.fromtimestamp(max(self._wall(), self._passed()), UTC)

    def earliest(self) -> datetime:
        """The same, whichever is earlier: others, whose clocks were not set forward with ours, are not behind it."""
        return datetime.fromtimestamp(min(self._wall(), self._passed()), UTC)

    def _wall(self) -> float:
        return time.time() if self._own_wall is None else self._own_wall()

    def _monotonic(self) -> float:
        return time.monotonic() if self._own_monotonic is None else self._own_monotonic()

    def _passed(self) -> float:
        wall, monotonic = self._started
        return wall + self._monotonic() - monotonic


CLOCK = SteadyClock()
