"""The options that benchmarks share: which source is meant, and what is refused."""

from pathlib import Path

import pytest

from benchmarks.harness import options
from core.settings.source import SimulatedSource, TablesSource


def chosen(*arguments: str, instead: str = ""):
    parser = options.command("")
    options.add_source(parser, instead=instead)
    options.add_recipe(parser)
    return options.parse(parser, list(arguments))


def test_data_are_of_the_kind_that_is_asked_for(tmp_path: Path) -> None:
    source = options.recipe_of(chosen("--data", str(tmp_path))).source
    assert isinstance(source, TablesSource)
    assert source.path == tmp_path
    assert isinstance(options.recipe_of(chosen("--source", "simulated")).source, SimulatedSource)


def test_what_is_set_goes_before_the_defaults_of_a_benchmark() -> None:
    given = chosen("--source", "simulated", "--set", "features.max_history=7")
    assert options.recipe_of(given, "features.max_history=200").features.max_history == 7


def test_missing_data_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chosen()
    assert "--data or --settings is required unless --source is simulated" in capsys.readouterr().err
    assert not options.has_data(chosen(instead="synthetic texts"))


def test_a_settings_file_names_the_source_and_how_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(f'[recipe.source]\nkind = "tables"\npath = "{tmp_path}"\ndate_formats = ["%d.%m.%Y"]\n')
    source = options.recipe_of(chosen("--settings", str(file), "--set", "seed=7")).source
    assert isinstance(source, TablesSource)
    assert (source.path, source.date_formats) == (tmp_path, ("%d.%m.%Y",))


def test_two_sources_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chosen("--settings", str(tmp_path / "shop.toml"), "--data", str(tmp_path))
    assert "--settings names a source, and --data another" in capsys.readouterr().err


def test_baselines_are_those_that_can_be_fitted(capsys: pytest.CaptureFixture[str]) -> None:
    parser = options.command("")
    options.add_baselines(parser, "sasrec")
    assert options.parse(parser, []).baselines == ["popularity_recent", "item_knn", "als", "bm25"]
    assert options.parse(parser, ["--baselines", "sasrec, als"]).baselines == ["als", "sasrec"]
    with pytest.raises(SystemExit):
        options.parse(parser, ["--baselines", "itemknn,als"])
    assert "'itemknn,als' holds others than popularity_recent,item_knn,als,bm25,sasrec" in capsys.readouterr().err
