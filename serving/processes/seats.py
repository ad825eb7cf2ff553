"""Which of a service's processes answer: those that hold a seat; the others wait until one is free.

A seat is a lock on a file. The system gives it back however its process ends, at once, so that a spare takes the place
of a killed worker sooner than its supervisor sees that it is gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

PARENT = "SERVING_PARENT"  # of a worker: the process that started it
_LOOK_S = 0.05


def take_seat(folder: Path, number: int) -> IO[bytes] | None:
    """A free seat; None where all are taken.

    Args:
        folder: Of the running service.
        number: Of seats.
    Returns:
        The seat, held for as long as it is open.
    """
    for place in range(number):
        file = (folder / f"seat-{place}").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file
    return None


def wait_for_seat(
    folder: Path, number: int, seconds: float = float("inf"), is_over: Callable[[], bool] = lambda: False
) -> IO[bytes] | None:
    """A seat as soon as one is free; None where the time has passed, or `is_over` says that nobody needs it."""
    until = time.monotonic() + seconds
    while (seat := take_seat(folder, number)) is None:
        if time.monotonic() >= until or is_over():
            return None
        time.sleep(_LOOK_S)
    return seat


def orphaned() -> Callable[[], bool]:
    """Whether the process that started this one is gone since; a worker knows it from before its imports."""
    parent = int(os.environ.get(PARENT) or os.getppid())
    return lambda: os.getppid() != parent
