"""A benchmark's data set is made once per source, settings and code, and again for any other."""

from pathlib import Path

import pytest

from benchmarks.harness import datasets, options
from benchmarks.harness.datasets import open_dataset
from core.settings.tree import Recipe
from features import training

SMALL = ["--set", "source.n_users=60", "--set", "source.n_items=30", "--set", "source.n_days=60"]


def simulated(*more: str) -> Recipe:
    parser = options.command("")
    options.add_source(parser)
    options.add_recipe(parser)
    return options.recipe_of(options.parse(parser, ["--source", "simulated", *SMALL, *more]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder after a run that made both training sets."""
    folder = tmp_path_factory.mktemp("cache")
    with open_dataset(simulated(), folder) as data:
        assert (data.leave_one_out("strict") / "queries.parquet").is_file()
        folder_of_split, summary = data.time_split()
        assert (folder_of_split / "pairs.parquet").is_file()
        assert summary.rows["queries"] > 0
    assert not data.work.exists()
    return folder


def test_a_cache_folder_is_read_by_the_next_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ((datasets, "ingest"), (datasets, "validate"), (datasets, "write_leave_one_out"))
    for module, step in (*steps, (training, "build_training_set")):
        monkeypatch.setattr(module, step, lambda *_, step=step: pytest.fail(f"{step} ran again"))
    with open_dataset(simulated(), cache) as data:
        assert (data.leave_one_out("strict") / "queries.parquet").is_file()
        assert data.time_split()[1].rows["queries"] > 0


def test_another_source_rule_or_code_has_a_folder_of_its_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = [simulated(), simulated("--set", "source.n_days=61"), simulated("--set", "validation.min_interactions=7")]
    folders = set()
    for code in ("one", "another"):
        monkeypatch.setattr(datasets, "code_version", lambda code=code: code)
        for recipe in recipes:
            with open_dataset(recipe, cache) as data:
                folders.add(data.folder)
    assert len(folders) == 6


def test_without_a_cache_nothing_is_left() -> None:
    with open_dataset(simulated()) as data:
        assert data.folder.is_relative_to(data.work)
    assert not data.work.exists()
