"""Events in: first onto the disk, then into the online store, so that none is lost and the next answer knows them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from core.events import as_kept
from core.logs.events import EventLog, Interaction
from core.timing.circuit import CircuitBreaker
from core.tombstones import IsForgotten, nobody

logger = logging.getLogger(__name__)

_PAGE_EVENTS = 1000
_MOST_EVENTS = 5000  # that one call pushes, about: whoever calls has something else to do
_LOCK_WAIT_S = 2.0


class EventSink(Protocol):
    """The online store, as far as events need it."""

    def push(self, events: Sequence[Interaction], sequences: Sequence[int]) -> None:
        """Put events into the features; one whose number in the log was there before changes nothing."""
        ...


@dataclass(frozen=True)
class Receipt:
    """What became of a batch: all of `accepted` is on the disk; `pushed` when the online store has it too."""

    accepted: int
    duplicates: int
    pushed: bool


class EventIntake:
    """The log is the truth; a mark in it says up to where the online store has it.

    What could not be pushed, or was not when the process died, is pushed later from the log, in its order.

    Args:
        log: Where events are kept.
        is_forgotten: Whether a user is; what the log still holds of theirs is passed over.
        retry_s: After a push that failed nobody pushes for so many seconds: who brings events does not wait for a store
            that is away.
    """

    def __init__(self, log: EventLog, is_forgotten: IsForgotten = nobody, retry_s: float = 0.0) -> None:
        self._log = log
        self._is_forgotten = is_forgotten
        self._lock = threading.Lock()
        self._sink: EventSink | None = None
        self._breaker = CircuitBreaker(retry_s)

    def connect(self, sink: EventSink) -> None:
        """Push to this store from now on."""
        self._sink = sink

    def accept(self, events: Sequence[Interaction]) -> Receipt:
        """Keep events, durably, and push them.

        Raises:
            EventLogError: they could not be written; none of them was accepted.
        """
        new = self._log.append(events)
        return Receipt(accepted=len(new), duplicates=len(events) - len(new), pushed=self.push_pending())

    def push_pending(self) -> bool:
        """Push what the log holds beyond the mark; True when nothing is left to push.

        One thread pushes at a time, so the store gets events in the log's order. A thread that finds another at work
        for long leaves its events to that one. A long backlog, as of a store that was away, is left to later calls.
        """
        sink = self._sink
        if sink is None or self._breaker.wait_s > 0 or not self._lock.acquire(timeout=_LOCK_WAIT_S):
            return False
        try:
            # Asked under the lock: the push that this one waited for may have failed.
            if not self._breaker.allows():
                return False
            n_pushed = 0
            while page := list(islice(self._log.read(after=self._log.pushed()), _PAGE_EVENTS)):
                # Logs of earlier releases hold events that the data gate refuses: they never reach the features.
                kept = [
                    (sequence, event)
                    for sequence, logged in page
                    if (event := as_kept(logged)) is not None and not self._is_forgotten(event.user_id)
                ]
                sink.push([event for _, event in kept], [sequence for sequence, _ in kept])
                self._log.mark_pushed(page[-1][0])
                n_pushed += len(page)
                if n_pushed >= _MOST_EVENTS:
                    break
            self._breaker.succeeded()
            return not page
        except Exception as error:
            # The events are safe in the log: the client must not send them again because the store is away.
            if self._breaker.failed(str(error)):
                logger.exception("Cannot push events to the online store; they stay in the log and are pushed later")
            return False
        finally:
            self._lock.release()

    def n_pending(self) -> int:
        """How many logged events the online store does not have yet."""
        return self._log.count(after=self._log.pushed())
