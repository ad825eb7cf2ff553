"""Figures are computed behind those who look; whatever goes wrong, they are told, and who looks next tries it again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from serving.experiments.figures import Computed, FiguresCache
from tests.unit.monitoring.online.test_figures import experiment


class Panic(BaseException):
    """As of a library that is written in Rust."""


@pytest.mark.parametrize("error", [ValueError("no"), Panic("no")])
def test_whatever_computing_raises_who_looks_is_told(error: BaseException) -> None:
    def compute(_: Sequence[object]) -> Any:
        if errors:
            raise errors.pop()
        return Computed(["figures"], 0.0)  # type: ignore[list-item]

    errors, asked = [error], experiment()
    figures = FiguresCache(compute, keep_s=0.0)
    figures.refresh([asked])
    figures.wait(20)
    said = "no" if isinstance(error, Exception) else "Panic: no"
    assert (figures.of(asked), figures.problem) == (None, f"The figures cannot be computed: {said}")
    figures.refresh([asked])
    figures.wait(20)
    assert (figures.of(asked), figures.problem) == ("figures", "")


def test_where_the_system_gives_no_thread_who_looks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    figures, asked = FiguresCache(lambda _: Computed(["figures"], 0.0), keep_s=1000.0), experiment()  # type: ignore[list-item]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        figures.refresh([asked])
        figures.wait(20)
    assert figures.problem == "The figures cannot be computed: can't start new thread"
    figures.refresh([asked])
    figures.wait(20)
    assert (figures.of(asked), figures.problem) == ("figures", "")


@pytest.mark.parametrize(("age_s", "times"), [(999.0, 1), (1001.0, 2)])
def test_figures_of_another_worker_are_as_old_here_as_there(
    monkeypatch: pytest.MonkeyPatch, age_s: float, times: int
) -> None:
    computed = []

    def compute(asked: Sequence[object]) -> Any:
        computed.append(asked)
        return Computed(["figures"], age_s)  # type: ignore[list-item]

    monkeypatch.setattr("serving.experiments.figures.time.monotonic", lambda: 5000.0)
    figures = FiguresCache(compute, keep_s=1000.0)
    for _ in range(2):
        figures.refresh([experiment()])
        figures.wait(20)
    assert len(computed) == times
