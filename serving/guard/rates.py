"""Rate limits: a token bucket per key, or per client address where no key was given, in each worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.settings.platform import Rate

_MOST_KNOWN = 10_000


@dataclass
class _Bucket:
    """Tokens that were left at a time, seconds of the clock."""

    tokens: float
    at: float


class TokenBuckets:
    """So many requests a second for each name, and a burst of more after a pause.

    A bucket holds at most `burst` tokens, and gains `per_s` a second; a request takes one. Beyond ten thousand names,
    those that asked longest ago are forgotten: made-up ones cannot fill memory.

    Args:
        rate: Of each name; a `per_s` of 0 limits nobody.
        clock: Seconds that never go back.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str) -> float:
        """Take a token; 0, or how many seconds until there is one."""
        if not self.rate.per_s:
            return 0.0
        now = self._clock()
        bucket = self._buckets.pop(name, None) or _Bucket(self.rate.burst, now)
        self._buckets[name] = bucket  # the last one of the dictionary: the newest
        if len(self._buckets) > _MOST_KNOWN:
            del self._buckets[next(iter(self._buckets))]
        bucket.tokens = min(self.rate.burst, bucket.tokens + (now - bucket.at) * self.rate.per_s)
        bucket.at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / self.rate.per_s
