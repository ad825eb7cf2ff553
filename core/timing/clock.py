"""The time of day for what has to stay in order while the machine's clock is set back or forward."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

logger = logging.getLogger(__name__)

_SLOWED = 0.5
# An hour is what a clock is set by in spring and autumn; who is further ahead was never right.
_MOST_AHEAD_S = 3660.0
# A difference that stays as it is for so long is no slip: the clock is right, and was wrong before.
_SETTLED_S = 3600.0
# Less is no difference: a clock that is kept right by small steps.
_APART_S = 1.0


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
        self._apart: tuple[float, float] | None = None

    def now(self) -> datetime:
        """The time, which does not go back: after the clock was set back an hour or less it runs on at half its speed
        until the clock has caught up, so that what comes later has the later time. Set back further, the clock was far
        ahead before, and is followed.
        """
        with self._lock:
            wall, monotonic = self._look()
            before, then = self._newest
            shown = max(wall, before + (monotonic - then) * _SLOWED)
            if shown - wall > _MOST_AHEAD_S:
                logger.warning("The machine's clock was set back %.0f s: times are by the clock again", shown - wall)
                shown = wall
            self._newest = shown, monotonic
        return datetime.fromtimestamp(shown, UTC)

    def latest(self) -> datetime:
        """The time by the clock or by what has passed since the start, whichever is later: others, whose clocks were
        not set back with ours, are not ahead of it. A clock that stays as it was set for an hour is right from then on.
        """
        return datetime.fromtimestamp(max(self._both()), UTC)

    def earliest(self) -> datetime:
        """The same, whichever is earlier: others, whose clocks were not set forward with ours, are not behind it."""
        return datetime.fromtimestamp(min(self._both()), UTC)

    def _wall(self) -> float:
        return time.time() if self._own_wall is None else self._own_wall()

    def _monotonic(self) -> float:
        return time.monotonic() if self._own_monotonic is None else self._own_monotonic()

    def _both(self) -> tuple[float, float]:
        """The time by the clock, and by what has passed."""
        with self._lock:
            wall, monotonic = self._look()
            return wall, self._passed(monotonic)

    def _passed(self, monotonic: float) -> float:
        wall, then = self._started
        return wall + monotonic - then

    def _look(self) -> tuple[float, float]:
        """The clock and the time that passes, as they are. Where they have differed by the same for long, what passes
        is counted from here.
        """
        wall, monotonic = self._wall(), self._monotonic()
        apart = wall - self._passed(monotonic)
        if abs(apart) <= _APART_S:
            self._apart = None
        elif self._apart is None or abs(apart - self._apart[0]) > _APART_S:
            self._apart = apart, monotonic
        elif monotonic - self._apart[1] > _SETTLED_S:
            logger.warning("The machine's clock has been %+.0f s off for an hour: it is taken for right", apart)
            self._started, self._apart = (wall, monotonic), None
        return wall, monotonic


CLOCK = SteadyClock()
