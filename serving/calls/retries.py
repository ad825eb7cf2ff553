"""When a request is sent again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from random import uniform
from typing import Any

from tenacity import RetryCallState, stop_after_attempt, wait_random_exponential

from serving.calls.call import Call
from serving.errors import RequestFailed

_BUSY = 429  # refused before anything was done
_LATE = 504
_PASSING = frozenset({0, _BUSY, 502, 503})  # 0: no answer came


@dataclass(frozen=True)
class Retries:
    """When a request that failed is sent again.

    Again are sent: what was not begun (no connection, 429), whatever it asks; and what only reads, and events with
    their ids, where no answer came or the service cannot answer for now (502, 503); events also where it took too long
    (504). `Retry-After` is kept to; without
    it waits double, each drawn between nothing and its most, so that many clients do not come back at once.

    Attributes:
        tries: How often a request is sent, at most; 1 for never again.
        first_wait_s: The most that is waited before the second try, without `Retry-After`.
        longest_wait_s: The most that is waited before any; a service that wants more is not waited for.
    """

    tries: int = 4
    first_wait_s: float = 0.2
    longest_wait_s: float = 20.0

    def of(self, call: Call[Any]) -> dict[str, Any]:
        """The arguments of tenacity's `Retrying` and `AsyncRetrying` for a call."""

        def is_worth_it(state: RetryCallState) -> bool:
            error = None if state.outcome is None else state.outcome.exception()
            return isinstance(error, RequestFailed) and self._may_repeat(call, error)

        return {
            "stop": stop_after_attempt(self.tries),
            "wait": self._wait_s,
            "retry": is_worth_it,
            "reraise": True,
        }

    def _may_repeat(self, call: Call[Any], error: RequestFailed) -> bool:
        is_passing = error.status in _PASSING or (error.status == _LATE and call.may_repeat_late)
        if not is_passing or (error.retry_after_s or 0) > self.longest_wait_s:
            return False
        return call.may_repeat or error.status == _BUSY or not error.was_sent

    def _wait_s(self, state: RetryCallState) -> float:
        error = None if state.outcome is None else state.outcome.exception()
        asked_s = error.retry_after_s if isinstance(error, RequestFailed) else None
        if asked_s is not None:
            return asked_s + uniform(0, self.first_wait_s)
        return float(wait_random_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s)(state))
