"""What each step took: wall time and peak memory, kept beside the run; and the options that every kept task shares."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from core.errors import SommelierError

_SAMPLE_S = 0.05


def worth_retrying(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what may pass by itself; an error that tells the user what to do will not."""
    return not isinstance(state.result(raise_on_failure=False), SommelierError)


# Results are small records of paths and counts, kept as JSON under a key of the inputs and the task's own source.
KEPT: dict[str, Any] = {
    "cache_policy": INPUTS + TASK_SOURCE,
    "persist_result": True,
    "result_serializer": "json",
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": worth_retrying,
}


class _MemorySampler(threading.Thread):
    """Keeps the largest resident size of this process and its children, sampled every 50 ms."""

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

    return current_settings().work_dir.absolute() / "steps" / f"{flow_run_id}.jsonl"


def read_steps(flow_run_id: str) -> list[dict[str, Any]]:
    """The steps that really ran in a flow run, in order; a step whose result was kept from before is not among them."""
    file = steps_file(flow_run_id)
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
