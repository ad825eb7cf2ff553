"""A process that appends to an event log: one that spawns it cannot find it in a `__main__`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Queue
from uuid import uuid4

from benchmarks.harness.timing import timed
from core.logs.events import EventLog, Interaction

PAUSE_S = 0.01


def append_until(path: Path, ready: Event, stop: Event, waits: Queue[list[float]]) -> None:
    """One event after the other; how long each took, seconds."""
    log, took = EventLog(path), []
    while not stop.is_set():
        event = Interaction(str(uuid4()), "u", "i", "view", datetime.now(UTC))
        took.append(timed(lambda: log.append([event]))[1])  # noqa: B023
        ready.set()
        time.sleep(PAUSE_S)
    waits.put(took)
