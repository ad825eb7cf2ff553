"""A shop's Great Expectations context, as somebody uses it who has Great Expectations alone."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from core.layout import Layout
from core.schema import TABLE_NAMES
from core.settings.source import TablesSource
from core.settings.validation import OwnRule, ValidationSettings
from tests.unit.features.shops import Row, write_shop
from tests.unit.validation.source_files import events, json_lines, write
from validation.expectations import data_context
from validation.expectations.clean_rules import build_clean_rules, build_clean_suite, count_clean
from validation.expectations.data_context import KEPT_RUNS, SET_ASIDE, TableRun, keep_run
from validation.gate import validate
from validation.sources.ingest import ingest

RULES = ValidationSettings(
    min_interactions=2,
    max_quarantined_share=1,
    rules=(
        OwnRule(name="titled", table="items", check="not_null", column="title"),
        OwnRule(name="cheap", table="items", check="between", column="price", maximum=500),
    ),
)
SECRET = "a-very-personal-word"
AT = datetime(2026, 1, 1, tzinfo=UTC)
RESULTS = Path("gx", "uncommitted", "validations")
_USER = """
import json, sys
import pandas as pd
import great_expectations as gx

context = gx.get_context(mode="file", project_root_dir=sys.argv[1])
checkpoint, = context.checkpoints.all()
says = {"suites": sorted(suite.name for suite in context.suites.all()), "checkpoint": checkpoint.name}

def history():
    keys = context.validation_results_store.list_keys()
    return sorted(key.expectation_suite_identifier.name for key in keys)

def run():
    result = checkpoint.run()
    return result.success, sorted(
        [of.suite_name, one.expectation_config.meta["rule"], one.result["unexpected_count"]]
        for of in result.run_results.values() for one in of.results if not one.success
    )

says["before"], says["good"] = history(), run()
events = pd.read_parquet(sys.argv[2])
events.loc[0, "event"] = "wish"
events.loc[1, "user_id"] = None
events.to_parquet(sys.argv[2])
says["bad"], says["after"] = run(), history()
context.build_data_docs()
says["own"] = [name for name in ("core", "validation", "features") if name in sys.modules]
print("SAYS", json.dumps(says))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validated twice, and the second of the two once more."""
    layout = Layout(tmp_path_factory.mktemp("work"), "corner")
    root = layout.root
    rows = [*events(9), {**events(1)[0], "event_id": SECRET, "event": SECRET}, {"user_id": "alone"}]
    write(root / "in" / "interactions.jsonl", json_lines(*rows))
    items: list[dict[str, Any]] = [{"item_id": "i0", "title": "A", "price": 3}, {"item_id": "i1", "price": 900}]
    write(root / "in" / "items.jsonl", json_lines(*items))
    ingest(TablesSource(path=root / "in"), root / "raw" / "r")
    for key in ("a", "b", "b"):
        validate(root / "raw" / "r", root / "clean" / key, RULES, root / "docs", None, layout.gx)
    return root


def test_somebody_with_great_expectations_alone_runs_the_checkpoint(shop: Path, tmp_path: Path) -> None:
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    damaged = str(shop / "clean" / "b" / "interactions.parquet")
    done = subprocess.run(
        [sys.executable, "-c", _USER, str(shop), damaged],
        cwd=tmp_path, env=known, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    says = json.loads(done.stdout.rpartition("SAYS ")[2])
    assert (says["checkpoint"], says["suites"], says["own"]) == ("corner", sorted(TABLE_NAMES), [])
    kept = [*TABLE_NAMES, "scanned_interactions", "scanned_items"]  # of the tables that the source has
    assert says["before"] == sorted(kept * 2)
    assert says["good"] == [True, []]
    assert says["bad"] == [False, [["interactions", "event_in_set", 1], ["interactions", "user_id_required", 1]]]
    assert says["after"] == sorted([*kept, *TABLE_NAMES] * 2)


def test_the_history_tells_of_the_sources_rows_without_showing_them(shop: Path) -> None:
    (path,) = (shop / RESULTS / "scanned_interactions" / "data-r-b").rglob("*.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    counts = {
        one["expectation_config"]["meta"]["rule"]: one["result"].get("unexpected_count") for one in result["results"]
    }
    assert (counts["event_in_set"], counts["timestamp_required"], counts["key_unique"]) == (1, 1, 0)
    assert {one["expectation_config"]["type"].partition("_")[0] for one in result["results"]} == {"expect"}
    for file in (shop / "gx").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, TableRun]:
    """What the gate hands over of four small clean tables."""
    clean = write_shop(tmp_path_factory.mktemp("shop") / "clean", [Row("u", "a", n) for n in range(3)])
    found = {}
    for table in TABLE_NAMES:
        rules = build_clean_rules(table, [], ValidationSettings(min_interactions=1), datetime.now(UTC), 0)
        with duckdb.connect() as connection:
            results = count_clean(connection, clean / f"{table}.parquet", rules)
        found[table] = TableRun(build_clean_suite(table, rules, []), results, None)
    return found


@pytest.fixture
def corner(runs: dict[Any, TableRun], tmp_path: Path) -> Iterator[Path]:
    """A shop with a context of one run."""
    write_shop(tmp_path / "clean" / "k", [Row("u", "a", n) for n in range(3)])
    keep_run(tmp_path / "gx", tmp_path / "clean" / "k", "first", AT, runs)
    yield tmp_path
    assert not list(tmp_path.rglob("*.unfinished"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_another_run_adds_its_results_and_changes_nothing_else(corner: Path, runs: dict[Any, TableRun]) -> None:
    own = corner / "gx" / "expectations" / "mine.json"
    own.write_text('{"name": "mine", "expectations": [], "meta": {}, "id": null, "notes": null}', encoding="utf-8")
    before = files(corner / "gx")
    write_shop(corner / "clean" / "l", [Row("u", "a", n) for n in range(3)])
    keep_run(corner / "gx", corner / "clean" / "l", "second", AT + timedelta(hours=1), runs)
    after = files(corner / "gx")
    assert {name.split("/")[2] for name in set(after) - set(before)} == set(TABLE_NAMES)
    assert {name for name in before if after[name] != before[name]} == {"great_expectations.yml"}
    written = yaml.safe_load(after["great_expectations.yml"])
    assert written["fluent_datasources"]["clean"]["base_directory"] == str(corner / "clean" / "l")
    assert written["analytics_enabled"] is False
    keep_run(corner / "gx", corner / "clean" / "l", "second", AT + timedelta(hours=2), runs)
    assert len(files(corner / "gx")) == len(after)


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("great_expectations.yml", "config_version: ["),
        ("great_expectations.yml", "config_version: 4.0\nstores: 3\n"),
        ("expectations/items.json", '{"name": "items", "expect'),
    ],
)
def test_a_context_that_cannot_be_read_is_set_aside_and_made_anew(
    corner: Path, runs: dict[Any, TableRun], part: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    (corner / "gx" / part).write_text(damage, encoding="utf-8")
    with caplog.at_level(logging.WARNING, "validation"):
        keep_run(corner / "gx", corner / "clean" / "k", "second", AT, runs)
    assert f"is made anew, without its history; the one before, now {corner / SET_ASIDE}, cannot be read" in caplog.text
    assert (corner / SET_ASIDE / part).read_text(encoding="utf-8") == damage
    assert sorted(path.name for path in (corner / RESULTS).glob("*/*") if path.is_dir()) == ["second"] * 4


@pytest.mark.parametrize("part", ["checkpoints/{shop}.json", "validation_definitions/items.json", "checkpoints"])
def test_what_is_missing_is_there_again_after_the_next_run(
    corner: Path, runs: dict[Any, TableRun], part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a kill between two files leaves it, or somebody's tidying."""
    path = corner / "gx" / part.format(shop=corner.name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (corner / "gx" / "expectations" / ".users.json.0123abcd.unfinished").write_text("{", encoding="utf-8")
    (corner / ".gx.0123abcd.unfinished").mkdir()
    keep_run(corner / "gx", corner / "clean" / "k", "second", AT, runs)
    assert path.exists()
    assert len(list((corner / RESULTS).glob("*/*/*/*.json"))) == 8
    assert not caplog.records


def test_the_history_does_not_grow_for_ever(
    corner: Path, runs: dict[Any, TableRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEPT_RUNS == 20
    monkeypatch.setattr(data_context, "KEPT_RUNS", 2)
    for n in range(1, 4):
        keep_run(corner / "gx", corner / "clean" / "k", f"r{n}", AT + timedelta(hours=n), runs)
    for table in TABLE_NAMES:
        assert {path.name for path in (corner / RESULTS / table).iterdir()} == {"r2", "r3"}
