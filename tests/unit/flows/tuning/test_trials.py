"""What becomes of a trial that cannot be fitted."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from httpx import ConnectError, ReadTimeout, Request, Response
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import disable_run_logger

from core.layout import Layout
from core.settings.models import BlendSettings, ModalitySettings
from core.settings.search import SearchSettings
from core.settings.tree import Recipe
from flows.errors import DataChanged, DiskFull
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


def _without_server() -> RuntimeError:
    """As Prefect's client says it."""
    try:
        raise RuntimeError("Failed to reach API") from ConnectError("All connection attempts failed")
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.ENOSPC, "No space left on device"),
        DataChanged("The run does not go on", got="forgotten=1 changes", expected="0", do="Run the flow again"),
        ReadTimeout("timed out"),
        PrefectHTTPStatusError("503", request=Request("GET", "http://prefect"), response=Response(503)),
        _without_server(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_of_the_settings_gives_no_trial_up(tmp_path, monkeypatch, error):
    with pytest.raises(type(error)):
        _run_trial(tmp_path, monkeypatch, 1, error)


def test_each_fit_of_a_trial_is_evaluated_in_a_step_of_its_own(tmp_path, monkeypatch):
    """So that its time is limited, and nobody removes a person's data meanwhile."""
    run: Any = SimpleNamespace(recipe=Recipe(), with_recipe=lambda recipe: SimpleNamespace(recipe=recipe))
    training: Any = SimpleNamespace(folder=tmp_path)
    asked: list[Any] = []

    def evaluate(of: Any, *, training: Path, ranking: int, blend: BlendSettings, file: Path) -> float:
        asked.append((of.recipe.seed, training, blend, file))
        return 0.25 * ranking

    monkeypatch.setattr(trials, "fit_ranking", lambda seeded, training, on_epoch: seeded.recipe.seed)
    monkeypatch.setattr(trials, "evaluate_trial", evaluate)
    files = {1: tmp_path / "one", 3: tmp_path / "three"}
    trial = Recipe(blend=BlendSettings(kind="gate"))
    assert trials.fit_and_evaluate.fn("trial-000", run, training, trial, files) == 0.5
    # The same queries for all, whichever seed they were fitted under.
    assert asked == [(Recipe().seed, tmp_path, trial.blend, file) for file in files.values()]


def test_a_search_starts_anew_where_a_file_or_the_device_is_another(tmp_path):
    """As a step's key has it: figures of other vectors, encoders or devices compare with none of these."""
    images, encoder = tmp_path / "images.parquet", tmp_path / "encoder"
    encoder.mkdir()
    images.write_bytes(b"first")
    (encoder / "model.safetensors").write_bytes(b"first")
    space = {"encoder.model": ["minilm", str(encoder)]}
    recipe = Recipe(modality=ModalitySettings(path=images))

    def name_on(device: str = "cpu") -> str:
        run: Any = SimpleNamespace(recipe=recipe, layout=Layout(tmp_path, "shop"), device=device)
        training: Any = SimpleNamespace(key="training")
        return trials.open_search(run, training, SearchSettings(space=space)).name

    first = name_on()
    assert name_on() == first
    assert name_on("cuda") != first
    images.write_bytes(b"second")
    second = name_on()
    assert second != first
    (encoder / "model.safetensors").write_bytes(b"second")
    assert name_on() not in (first, second)
