"""Figures are computed by one worker, and read by the others while they are young."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from core.experiments import Experiment
from core.settings.monitoring import ExperimentSettings
from core.timing.clock import CLOCK
from monitoring.online.figures import ExperimentFigures, VariantFigures
from monitoring.online.intervals import OpenInterval
from serving.experiments.shared_figures import SharedFigures
from tests.unit.monitoring.online.test_figures import experiment

FIGURES_S = 3600.0


class Worker:
    """Counts what it computes."""

    def __init__(self, log: Path, **settings: float) -> None:
        self.computed: list[str] = []
        given = ExperimentSettings.model_validate({"figures_s": FIGURES_S, **settings})
        self.compute = SharedFigures(log, given, self.count).compute

    def count(self, one: Experiment) -> ExperimentFigures:
        self.computed.append(one.name)
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
    assert found == [workers[0].compute([experiment()])] * 4


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
