"""How benchmarks measure time and memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")
Name = TypeVar("Name")


def timed(step: Callable[[], T]) -> tuple[T, float]:
    """What a step returns, and the seconds that it took."""
    started = time.perf_counter()
    result = step()
    return result, time.perf_counter() - started


def in_turns(contenders: Mapping[Name, Callable[[int], T]], runs: int) -> dict[Name, list[T]]:
    """Each contender once per run, one after the other, so that a slow moment of the machine meets all of them.

    Args:
        contenders: Are called with the number of the run.
        runs: How often.
    """
    results: dict[Name, list[T]] = {name: [] for name in contenders}
    for run in range(runs):
        for name, step in contenders.items():
            results[name].append(step(run))
    return results


def peak_gib() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
