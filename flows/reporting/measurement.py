"""What each step took: wall time and peak memory, kept beside the run."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_SAMPLE_S = 0.05


class _MemorySampler(threading.Thread):
    """Keeps the largest resident size of this process, sampled every 50 ms; steps start no others."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="memory-sampler")
        self.peak_bytes = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        import psutil

        process = psutil.Process(os.getpid())
        while True:
            self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
            if self._stopped.wait(_SAMPLE_S):
                return

    def stop(self) -> int:
        self._stopped.set()
        self.join()
        return self.peak_bytes


@contextmanager
def measured(step: str) -> Iterator[None]:
    """Time the block, sample its memory, log both, and add a line to the run's `steps.jsonl`."""
    from prefect import get_run_logger
    from prefect.runtime import flow_run

    sampler = _MemorySampler()
    sampler.start()
    started = time.perf_counter()
    try:
        yield
    finally:
        wall_s, peak_mib = time.perf_counter() - started, sampler.stop() / 2**20
        get_run_logger().info("%s: %.1f s, peak %.0f MiB", step, wall_s, peak_mib)
        line = {"step": step, "wall_s": round(wall_s, 2), "peak_mib": round(peak_mib)}
        record = steps_file(str(flow_run.id))
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def steps_file(flow_run_id: str) -> Path:
    """Where a flow run's steps are kept."""
    from flows.environment import current_settings

    return steps_folder(current_settings().work_dir) / f"{flow_run_id}.jsonl"


def steps_folder(work_dir: Path) -> Path:
    """Where the steps of every flow run are kept."""
    return work_dir.absolute() / "steps"


def read_steps(flow_run_id: str) -> list[dict[str, Any]]:
    """The steps that really ran in a flow run, in order; a step whose result was kept from before is not among them."""
    file = steps_file(flow_run_id)
    if not file.exists():
        return []
    return list(_whole(file.read_text(encoding="utf-8").splitlines()))


def _whole(lines: list[str]) -> Iterator[dict[str, Any]]:
    """The lines but for those that a kill cut short: a run that Prefect is asked to retry keeps its file."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            yield json.loads(line)
