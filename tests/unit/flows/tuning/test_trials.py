"""What becomes of a trial that cannot be fitted."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from core.layout import Layout
from core.settings.tree import Recipe
from flows.errors import DiskFull
from flows.tuning import trials

FULL = DiskFull("The flow stops", got="free=1 MB", expected="more", do="Free room")


def _run_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: Exception) -> list[str]:
    """Run a trial whose fit fails; the notes of the trials that the search gave up for good."""
    failed: list[str] = []

    def fit(*_: Any) -> float:
        raise error

    monkeypatch.setattr(trials, "fit_and_evaluate", fit)
    run: Any = SimpleNamespace(recipe=Recipe(), layout=Layout(tmp_path, "shop"))
    search: Any = SimpleNamespace(name="search", fail=lambda trial, why, seconds: failed.append(why))
    trial: Any = SimpleNamespace(number=number, values={}, recipe=Recipe())
    with disable_run_logger():
        trials._run_trial(run, None, search, trial, 1)  # type: ignore[arg-type]
    return failed


def test_settings_that_cannot_be_fitted_are_given_up(tmp_path, monkeypatch):
    assert _run_trial(tmp_path, monkeypatch, 1, ValueError("too wide")) == ["too wide"]
    with pytest.raises(ValueError, match="too wide"):
        _run_trial(tmp_path, monkeypatch, 0, ValueError("too wide"))


@pytest.mark.parametrize("error", [FULL, OSError(errno.ENOSPC, "No space left on device")])
def test_a_full_disk_gives_no_trial_up(tmp_path, monkeypatch, error):
    with pytest.raises(type(error)):
        _run_trial(tmp_path, monkeypatch, 1, error)


def test_each_fit_of_a_trial_is_evaluated_in_a_step_of_its_own(tmp_path, monkeypatch):
    """So that its time is limited, and nobody removes a person's data meanwhile."""
    run: Any = SimpleNamespace(recipe=Recipe(), with_recipe=lambda recipe: SimpleNamespace(recipe=recipe))
    training: Any = SimpleNamespace(folder=tmp_path)
    asked: list[Any] = []

    def evaluate(of: Any, *, training: Path, ranking: int, file: Path) -> float:
        asked.append((of.recipe.seed, training, file))
        return 0.25 * ranking

    monkeypatch.setattr(trials, "fit_ranking", lambda seeded, training, on_epoch: seeded.recipe.seed)
    monkeypatch.setattr(trials, "evaluate_trial", evaluate)
    files = {1: tmp_path / "one", 3: tmp_path / "three"}
    assert trials.fit_and_evaluate.fn("trial-000", run, training, Recipe(), files) == 0.5
    # The same queries for all, whichever seed they were fitted under.
    assert asked == [(Recipe().seed, tmp_path, file) for file in files.values()]
