"""Whether a process was told to stop, for what keeps its main thread busy meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Within the block, whether a signal has told the process to stop; whoever handles it is told as ever.

    In another thread than the main one, which alone hears of signals, nobody was told.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    told: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def hear(number: int, frame: FrameType | None) -> None:
        told.append(number)
        handle = before[signal.Signals(number)]
        if callable(handle):
            handle(number, frame)

    # One that nobody handles ends the process by itself, or is not to.
    ours = [number for number in _SIGNALS if callable(before[number])]
    for number in ours:
        signal.signal(number, hear)
    try:
        yield lambda: bool(told)
    finally:
        for number in ours:
            signal.signal(number, before[number])
