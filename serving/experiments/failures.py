"""Why bundles of experiments fail, in the service's log: another answers in their place, so that no answer tells it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_AGAIN_S = 3600.0


class FailureLog:
    """Logs what fails again and again: of a kind the first, and once an hour the newest, with how many there were.

    Args:
        clock: Seconds, of which only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # By what was said and the error's type: when it was logged last, and how many there were since.
        self._told: dict[tuple[str, type[BaseException]], tuple[float, int]] = {}

    def tell(self, what: str, error: BaseException) -> None:
        """Log an error with its traceback, or count it.

        Args:
            what: A sentence. Errors of one type are of a kind where it is the same: it names bundles, and no user.
            error: Why.
        """
        kind, now = (what, type(error)), self._clock()
        with self._lock:
            told_at, more = self._told.get(kind, (None, 0))
            if told_at is not None and now - told_at < _AGAIN_S:
                self._told[kind] = told_at, more + 1
                return
            self._told[kind] = now, 0
        again = f", {more + 1} more since this was logged" if told_at is not None else ""
        logger.error("%s (%s%s)", what, type(error).__name__, again, exc_info=error)
