"""One thread that computes answers, and what waits for it: requests that wait together are answered together.

Threads that compute side by side in one Python process take the interpreter from each other, and answer fewer requests
than one. So there is one, and the more requests wait, the less each of them costs. While several wait, the thread and
the event loop take turns, too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from core.errors import as_exception
from core.logs.requests import answering, current_request_id

logger = logging.getLogger(__name__)

_CLOSE_WAIT_S = 5.0
# So long the event loop stands back for a batch, and the thread for the event loop, at most.
_LONGEST_TURN_S = 0.03
# So many rounds of the event loop that each take less time than a request does: it has nothing to do.
_QUIET_ROUNDS, _QUIET_S = 2, 50e-6

# From requests to the answer of each, or what it is refused with.
Answer = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class _Waiting:
    """A request that waits.

    Attributes:
        group: Requests of one group are answered together, by the `answer` of the first.
        until: When nobody waits any more, by `time.monotonic`.
        request_id: For what is logged meanwhile.
    """

    group: Hashable
    answer: Answer
    request: Any
    until: float
    answered: asyncio.Future[Any]
    request_id: str | None = field(default_factory=current_request_id)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more: the client hung up, or the time limit has passed."""
        return self.answered.done() or time.monotonic() >= self.until


class _Turns:
    """Whose turn with the interpreter it is: that of the thread that computes, or that of the event loop.

    Each operation of a computation lets the interpreter go. An event loop that has something to do takes it then, and
    gives it back when it comes to an end: side by side both take longer for the same work. So the event loop stands
    back until a batch is computed, and the thread until the event loop has dealt with what came meanwhile. Neither
    waits for longer than `_LONGEST_TURN_S`. A batch for which that was not enough is left alone to its end, and where
    the last one took more processor time, there are no turns: others than these requests would feel them.
    """

    def __init__(self) -> None:
        self._is_on, self._is_short = False, True
        self._took_s = 0.0
        self._changing = threading.Lock()
        self._computed, self._may_compute = threading.Event(), threading.Event()
        self._may_compute.set()

    def take(self, is_computing: Callable[[], bool]) -> None:
        """Take turns from now on, in the event loop, as long as there is something to compute."""
        if not self._is_on and self._is_short:
            self._is_on = True
            self._come_back(is_computing)

    def computed(self, took_s: float, spent_s: float) -> None:
        """A batch is computed, in the thread: returns when the next one may begin.

        Args:
            took_s: From its begin to its end.
            spent_s: Of processor time: how busy the machine is says nothing of a batch.
        """
        with self._changing:
            self._took_s, self._is_short = took_s, spent_s <= _LONGEST_TURN_S
            if not self._is_on:
                return
            self._may_compute.clear()
            self._computed.set()
        self._may_compute.wait(_LONGEST_TURN_S)

    def _come_back(self, is_computing: Callable[[], bool]) -> None:
        now = time.perf_counter()
        asyncio.get_running_loop().call_soon(self._deal, is_computing, now, now, _QUIET_ROUNDS)

    def _deal(self, is_computing: Callable[[], bool], begun: float, last: float, left: int) -> None:
        """Let the event loop go round until it has nothing to do: in one round it takes one new connection, and what a
        request leads to takes several.
        """
        now = time.perf_counter()
        left = left - 1 if now - last < _QUIET_S else _QUIET_ROUNDS
        if left and now - begun < self._took_s / 2:
            asyncio.get_running_loop().call_soon(self._deal, is_computing, begun, now, left)
        else:
            self._stand_back(is_computing)

    def _stand_back(self, is_computing: Callable[[], bool]) -> None:
        self._computed.clear()
        with self._changing:
            self._is_on = self._is_short and is_computing()
            self._may_compute.set()
            if not self._is_on:
                return
        if self._computed.wait(_LONGEST_TURN_S):
            self._come_back(is_computing)
            return
        with self._changing:
            self._is_on = False
            self._is_short = self._is_short and self._computed.is_set()  # it may have come to its end just now
            self._may_compute.set()


class Batcher:
    """Answers requests of one event loop in a thread, those that wait together in one go.

    Args:
        max_batch: How many at most.
        count: Called with the number of requests of each batch, in the thread.
    """

    def __init__(self, max_batch: int, count: Callable[[int], None] = lambda _: None) -> None:
        self._max_batch, self._count = max_batch, count
        self._arriving: list[_Waiting] = []
        self._queue: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._turns = _Turns()
        self._n_given = self._n_computed = 0
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self._thread.start()

    async def answer(self, group: Hashable, answer: Answer, request: Any, limit_s: float) -> Any:
        """Have a request answered; whoever cancels this takes it out of the queue.

        Args:
            group: Requests of one group are answered together.
            answer: From requests of the group to their answers, an exception in the place of one that has none.
            limit_s: A request that has waited for so long is dropped.
        Raises:
            TimeoutError: it was dropped.
            Exception: what stands in the place of its answer.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(group, answer, request, time.monotonic() + limit_s, loop.create_future())
        if not self._arriving:
            loop.call_soon(self._hand_over)
        self._arriving.append(waiting)
        return await waiting.answered

    def close(self) -> None:
        """End the thread, after the batch that it works on."""
        self._queue.put(None)
        self._thread.join(timeout=_CLOSE_WAIT_S)

    def _hand_over(self) -> None:
        """Give the thread what has arrived in one turn of the event loop, at once."""
        arrived, self._arriving = self._arriving, []
        self._n_given += len(arrived)
        self._queue.put(arrived)
        if self._n_given - self._n_computed > 1:
            self._turns.take(self._is_computing)

    def _is_computing(self) -> bool:
        return self._n_given > self._n_computed

    def _work(self) -> None:
        waiting: list[_Waiting] = []
        while True:
            try:
                arrived = self._queue.get(block=not waiting)
            except Empty:
                pass
            else:
                if arrived is None:
                    return
                waiting += arrived
                if len(waiting) < self._max_batch and not self._queue.empty():
                    continue
            batch, waiting = waiting[: self._max_batch], waiting[self._max_batch :]
            begun, spent = time.perf_counter(), time.thread_time()
            self._answer(batch)
            self._n_computed += len(batch)
            self._turns.computed(time.perf_counter() - begun, time.thread_time() - spent)

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        groups: dict[Hashable, list[_Waiting]] = {}
        over = []
        for one in batch:
            if one.is_over:
                over.append((one, TimeoutError()))
            else:
                groups.setdefault(one.group, []).append(one)
        if over:
            _deliver(over)
        for group in groups.values():
            with answering(one.request_id for one in group):
                try:
                    self._count(len(group))
                    answered = list(zip(group, group[0].answer([one.request for one in group]), strict=True))
                except BaseException as error:  # whatever it is, those behind it wait for this thread
                    failed = as_exception(error)
                    answered = [(one, failed) for one in group]
            _deliver(answered)


def _deliver(answers: Sequence[tuple[_Waiting, Any]]) -> None:
    """Give answers to those who wait, in their event loop."""

    def give() -> None:
        for waiting, answer in answers:
            if waiting.answered.done():
                continue
            if isinstance(answer, StopIteration):
                # No future takes that one, and those behind it would wait for ever.
                waiting.answered.set_exception(RuntimeError("an iterator had no answer left"))
            elif isinstance(answer, Exception):
                waiting.answered.set_exception(answer)
            else:
                waiting.answered.set_result(answer)

    try:
        answers[0][0].answered.get_loop().call_soon_threadsafe(give)
    except RuntimeError:
        logger.debug("The event loop is closed: nobody waits for %d answers", len(answers))
