"""One thread that computes answers, and what waits for it: requests that wait together are answered together.

Threads that compute side by side in one Python process take the interpreter from each other, and answer fewer requests
than one. So there is one, and the more requests wait, the less each of them costs.
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
        self._queue.put(arrived)

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
            self._answer(batch)

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
