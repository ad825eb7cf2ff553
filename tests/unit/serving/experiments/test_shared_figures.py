"""Figures are computed by one worker, and read by the others while they are young."""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.experiments import Experiment
from core.promotions import Change, Standing
from core.settings.monitoring import ExperimentSettings
from core.timing.clock import CLOCK, SteadyClock
from monitoring.online.figures import ExperimentFigures, VariantFigures
from monitoring.online.intervals import OpenInterval
from serving.experiments import shared_figures
from serving.experiments.figures import Computed
from serving.experiments.shared_figures import SharedFigures
from tests.unit.monitoring.online.test_figures import experiment

FIGURES_S = 3600.0
PROMOTED = Change(at="2026-02-01T00:00:00+00:00", action="promoted", version="v1", digest="d1")


class Worker:
    """Counts what it computes."""

    def __init__(self, log: Path, **settings: float) -> None:
        self.computed: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.standing = Standing(folder=log, changes=(PROMOTED,))
        given = ExperimentSettings.model_validate({"figures_s": FIGURES_S, **settings})
        self.compute = SharedFigures(log, given, lambda: self.standing, self.count).compute

    def count(self, one: Experiment, standing: Standing) -> ExperimentFigures:
        assert standing == self.standing
        self.computed.append(one.name)
        self.meanwhile()
        variant = VariantFigures(variant="new", share=0.5, latency_p50_ms=OpenInterval(value=0.1, low=None, high=0.3))
        return ExperimentFigures(name=one.name, since="", until="", dropped=0, variants=(variant,))


def test_many_workers_compute_once(tmp_path: Path) -> None:
    workers, found = [Worker(tmp_path) for _ in range(4)], []
    threads = [threading.Thread(target=lambda one=one: found.append(one.compute([experiment()]))) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(one.computed) for one in workers) == 1
    assert [one.figures for one in found] == [workers[0].compute([experiment()]).figures] * 4


def test_another_state_or_other_settings_are_computed_anew(tmp_path: Path) -> None:
    Worker(tmp_path).compute([experiment()])
    over, other = Worker(tmp_path), Worker(tmp_path, observe_s=60.0)
    over.compute([experiment(stopped_at="2026-03-01T13:00:00+00:00")])
    other.compute([experiment()])
    assert (over.computed, other.computed) == (["try"], ["try"])


@pytest.mark.parametrize("age_s", [-60.0, FIGURES_S + 60.0, None])
def test_what_is_old_or_of_the_future_or_damaged_is_computed_anew(tmp_path: Path, age_s: float | None) -> None:
    Worker(tmp_path).compute([experiment()])
    file = tmp_path / "figures.json"
    told = json.loads(file.read_text())
    if age_s is not None:
        told["at"] = (CLOCK.now() - timedelta(seconds=age_s)).isoformat()
    file.write_text("{" if age_s is None else json.dumps(told))
    again = Worker(tmp_path)
    again.compute([experiment()])
    assert again.computed == ["try"]


def test_a_promotion_has_them_computed_anew(tmp_path: Path) -> None:
    before, after = Worker(tmp_path), Worker(tmp_path)
    before.compute([experiment()])
    after.standing = Standing(folder=tmp_path, changes=(PROMOTED, PROMOTED))
    after.compute([experiment()])
    assert after.computed == ["try"]
    before.standing = after.standing
    before.compute([experiment()])
    assert before.computed == ["try"]


class Clock(SteadyClock):
    """Stands still but for what a test lets pass."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        super().__init__(lambda: 1.77e9 + self.passed_s, lambda: self.passed_s)

    def passes(self, seconds: float) -> None:
        self.passed_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shared_figures, "CLOCK", clock)
    return clock


def test_they_are_as_old_as_when_they_were_computed_and_not_as_when_they_were_read(
    tmp_path: Path, clock: Clock
) -> None:
    one, other = Worker(tmp_path), Worker(tmp_path)
    computed = one.compute([experiment()])
    assert computed.age_s == 0.0
    clock.passes(FIGURES_S - 60)
    assert other.compute([experiment()]) == Computed(computed.figures, age_s=FIGURES_S - 60)
    clock.passes(60)
    assert other.compute([experiment()]).age_s == 0.0
    assert other.computed == ["try"]


def test_what_takes_longer_to_compute_than_it_may_become_old_is_shared_too(tmp_path: Path, clock: Clock) -> None:
    one, other = Worker(tmp_path), Worker(tmp_path)
    one.meanwhile = lambda: clock.passes(3 * FIGURES_S)
    one.compute([experiment()])
    assert other.compute([experiment()]).age_s == 0.0
    assert (one.computed, other.computed) == (["try"], [])


def test_where_no_lock_can_be_had_each_worker_computes_its_own_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "file" / "predictions"
    worker = Worker(log)
    for n_said in (1, 2):
        (tmp_path / "file").touch()
        for _ in range(3):
            assert [one.name for one in worker.compute([experiment()]).figures] == ["try"]
        said = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(said) == n_said
        assert "cannot be shared, so each worker computes its own: [Errno" in said[-1].getMessage()
        (tmp_path / "file").unlink()
        other, again = Worker(log), Worker(log)
        worker.compute([experiment()])
        other.compute([experiment()])
        again.compute([experiment()])
        assert (other.computed, again.computed) == ([], [])
        for one in sorted(log.iterdir()):
            one.unlink()
        log.rmdir()
        log.parent.rmdir()


def test_where_they_cannot_be_written_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared_figures, "write_json", full)
    worker = Worker(tmp_path)
    for _ in range(3):
        assert len(worker.compute([experiment()]).figures) == 1
    assert worker.computed == ["try"] * 3
    assert [one.getMessage().rpartition(": ")[-1] for one in caplog.records] == ["[Errno 28] No space left on device"]


def test_what_computing_raises_is_no_fault_of_sharing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise OSError("the log is gone")

    worker = Worker(tmp_path)
    worker.meanwhile = broken
    with pytest.raises(OSError, match="the log is gone"):
        worker.compute([experiment()])
    assert (worker.computed, caplog.records) == (["try"], [])
