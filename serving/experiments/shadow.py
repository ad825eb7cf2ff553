"""A shadow computes an answer beside the one that was given: it is compared and logged, and never shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Full, Queue
from typing import Literal

from core.logs.requests import answering
from serving.experiments.failures import FailureLog

_CLOSE_S = 5.0
_UNHARMED = "what is shown does not depend on it"

Outcome = Literal["compared", "dropped", "failed"]


class ShadowQueue:
    """Runs what shadows have to do in a thread of its own, one after another; what does not fit is left out.

    Args:
        max_waiting: Tasks that may wait.
        count: Told what became of each.
        failures: Told why one failed.
    """

    def __init__(self, max_waiting: int, count: Callable[[Outcome], None], failures: FailureLog | None = None) -> None:
        self._queue: Queue[tuple[Callable[[], None], str, str | None] | None] = Queue(max_waiting)
        self._count, self._failures = count, failures or FailureLog()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, task: Callable[[], None], named: str, request_id: str | None = None) -> bool:
        """Have a task done soon; False where too many wait.

        Args:
            named: The shadow whose task it is, for what is logged where it fails.
            request_id: Of the answer that it is compared with, for what is logged meanwhile.
        """
        try:
            self._queue.put_nowait((task, named, request_id))
        except Full:
            self._count("dropped")
            return False
        finally:
            if self._thread is None:
                self._begin()
        return True

    def _begin(self) -> None:
        # With the first task, which is rare: most services have no shadow.
        thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # where the system gives no more threads; the next task tries it again
            self._failures.tell(f"No thread for shadows can be started; {_UNHARMED}", error)
        else:
            self._thread = thread

    def close(self) -> None:
        """End the thread; what waits is left out."""
        self._stopping.set()
        if self._thread is not None:
            with suppress(Full):  # then it is at work, and looks between two tasks
                self._queue.put_nowait(None)
            self._thread.join(timeout=_CLOSE_S)

    def wait(self, timeout_s: float) -> bool:
        """Wait until nothing waits or is at work; False if it takes longer."""
        until = time.monotonic() + timeout_s
        while self._queue.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.005)
        return not self._queue.unfinished_tasks

    def _run(self) -> None:
        while not self._stopping.is_set():
            taken = self._queue.get()
            try:
                if taken is not None:
                    task, named, request_id = taken
                    with answering([request_id]):
                        self._do(task, named)
            finally:
                self._queue.task_done()

    def _do(self, task: Callable[[], None], named: str) -> None:
        try:
            task()
            self._count("compared")
        except BaseException as error:  # whatever it is, the next task needs this thread
            self._failures.tell(f"A shadow cannot answer, {named}; {_UNHARMED}", error)
            with suppress(Exception):  # a figure that cannot be kept
                self._count("failed")


def overlap(shown: Sequence[str], shadow: Sequence[str]) -> float | None:
    """The share of the shown items that the shadow has too; None where nothing was shown."""
    return len({*shown} & {*shadow}) / len(shown) if shown else None


def rank_correlation(shown: Sequence[str], shadow: Sequence[str]) -> float | None:
    """Spearman's correlation of the places of the items that both lists have; None for fewer than two of them.

    Of n common items, whose places among each other differ by d: 1 - 6 sum(d²) / (n (n² - 1)).
    """
    common = {*shown} & {*shadow}
    n = len(common)
    if n < 2:
        return None
    places = {item: place for place, item in enumerate(item for item in shadow if item in common)}
    moved = sum((place - places[item]) ** 2 for place, item in enumerate(item for item in shown if item in common))
    return 1.0 - 6.0 * moved / (n * (n * n - 1))
