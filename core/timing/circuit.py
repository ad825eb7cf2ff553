"""A circuit breaker: what has just failed is not asked again at once by everybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Says whether something may be asked. Safe to share between threads.

    Closed, it lets everybody ask. A failure opens it, and nobody asks for `retry_s`. Then it is half open: one asks
    while the others still do without. A success closes it, another failure keeps it open. One that was let through
    and never told how it went does not keep it open: the next may ask after another `retry_s`.

    Args:
        retry_s: For how long nobody asks after a failure, seconds; 0 lets everybody ask all the time.
        clock: Monotonic, seconds.

    Attributes:
        problem: Why it is open; empty while it is closed.
    """

    def __init__(self, retry_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.problem = ""
        self._retry_s, self._clock = retry_s, clock
        self._retry_at: float | None = None  # None while it is closed
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the last that was told is a failure."""
        return self._retry_at is not None

    @property
    def wait_s(self) -> float:
        """In how many seconds somebody may ask again; 0 for now."""
        retry_at = self._retry_at
        return 0.0 if retry_at is None else max(0.0, retry_at - self._clock())

    def allows(self) -> bool:
        """Whether the caller may ask. Who was let through tells `succeeded` or `failed` how it went."""
        if self._retry_at is None:
            return True
        with self._lock:
            if self._retry_at is None:
                return True
            if self._clock() < self._retry_at:
                return False
            self._retry_at = self._clock() + self._retry_s
            return True

    def succeeded(self) -> bool:
        """Close it. True where it was open."""
        if self._retry_at is None:
            return False
        with self._lock:
            was_open, self._retry_at, self.problem = self._retry_at is not None, None, ""
            return was_open

    def failed(self, problem: str) -> bool:
        """Open it, or keep it open. True where it was closed."""
        with self._lock:
            was_closed = self._retry_at is None
            self._retry_at, self.problem = self._clock() + self._retry_s, problem
            return was_closed
