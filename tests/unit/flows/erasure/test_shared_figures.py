"""Figures of experiments that workers share have nobody's id, and still count who is forgotten: they go."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.experiments import Experiment
from core.layout import Layout
from core.logs.predictions import read_predictions
from core.promotions import Standing
from core.settings.features import FeatureStoreSettings
from core.settings.monitoring import ExperimentSettings
from flows.erasure.removal import remove_person
from monitoring.online import erasure
from monitoring.online.figures import ExperimentFigures
from serving.experiments.shared_figures import SharedFigures
from tests.unit.flows.erasure.known_person import PERSON
from tests.unit.monitoring.online.test_figures import experiment


def test_figures_that_count_who_is_forgotten_go_also_where_they_are_just_being_computed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has read the log and still computes when the person goes from it: what it then writes goes too."""
    has_read, is_gone = threading.Event(), threading.Event()

    def compute(one: Experiment, _: Standing) -> ExperimentFigures:
        n_theirs = sum(PERSON in record.values() for record in read_predictions(layout.predictions))
        has_read.set()
        assert is_gone.wait(60)
        return ExperimentFigures(name=one.name, since="", until="", dropped=n_theirs, variants=())

    erase, figures = erasure.erase_figures, layout.predictions / "figures.json"

    def erase_once_they_are_written(log: Path) -> None:
        is_gone.set()
        erase(log)
        assert not figures.exists()

    monkeypatch.setattr("flows.erasure.removal.erase_figures", erase_once_they_are_written)
    standing = Standing(folder=layout.root, changes=())
    shared = SharedFigures(layout.predictions, ExperimentSettings(), lambda: standing, compute)
    found: list[int] = []
    worker = threading.Thread(target=lambda: found.append(shared.compute([experiment()]).figures[0].dropped))
    worker.start()
    assert has_read.wait(60)
    remove_person(layout, FeatureStoreSettings(), PERSON)
    is_gone.set()
    worker.join()
    assert (found, figures.exists()) == ([2], False)
    assert shared.compute([experiment()]).figures[0].dropped == 0


def test_where_none_were_computed_nothing_is_made(tmp_path: Path) -> None:
    erasure.erase_figures(tmp_path / "predictions")
    assert list(tmp_path.iterdir()) == []
