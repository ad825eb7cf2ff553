"""What a Feast user does in a shop's feature folder: the real `feast` command, in a shell of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from feast.repo_operations import apply_total

import features
from features.archive.publication import read_published
from features.counting.views import USER_SEEN, VIEWS
from features.feast.definitions import SERVICES
from features.feast.rows import StoredRow
from features.feast.store import REPOSITORY_FILE, open_store
from features.online import OnlineFeatures
from features.refresh import online_store_of, refresh_features
from tests.integration.features.servers import drop_schema, postgres_url, settings
from tests.integration.features.shop import SETTINGS, event

# As a shell would run them one after the other, without the seconds that each takes to import Feast.
_RUN_ALL = """
import json, sys
from click.testing import CliRunner
from feast.cli.cli import cli
runs = [CliRunner().invoke(cli, json.loads(line)) for line in sys.argv[1:]]
print("RUNS", json.dumps([[run.exit_code, run.output, str(run.exception)] for run in runs]))
"""
_ENTITIES = {"user": ["u", "v", "w", "quiet"], "item": list("abcdefg")}


def run_in(folder: Path, *command: str) -> str:
    """Run in the folder, with the code under test as the installed package."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("FEAST_")}
    environment = {**known, "PYTHONPATH": str(Path(features.__file__).parent.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_all(folder: Path, *commands: list[str]) -> list[str]:
    """What each `feast` command prints; all of them in one process."""
    printed = run_in(folder, sys.executable, "-c", _RUN_ALL, *map(json.dumps, commands))
    runs = json.loads(printed.rpartition("RUNS ")[2])
    failed = [(command, error) for command, (code, _, error) in zip(commands, runs, strict=True) if code]
    assert not failed
    return [output for _, output, _ in runs]


def names(table: str) -> set[str]:
    """The first column of what a command lists."""
    return {line.split()[0] for line in table.splitlines()[1:]}


def rows_online(folder: Path) -> dict[str, list[StoredRow | None]]:
    store = open_store(folder)
    return {
        view: online_store_of(store).read_rows(store.config, view, _ENTITIES[view.partition("_")[0]]) for view in VIEWS
    }


def registered(folder: Path) -> Any:
    """The registry but for the times at which things were applied, and their order."""
    store = open_store(folder)
    text = json.dumps(store.registry.to_dict(store.project), sort_keys=True)
    found = json.loads(re.sub(r'"(created|lastUpdated)Timestamp": "[^"]*"', '"at": ""', text))
    return {kind: sorted(map(json.dumps, of)) if isinstance(of, list) else of for kind, of in found.items()}


@pytest.fixture
def pushed(feast: Path) -> Path:
    """A refreshed store in which a user is online as the offline store does not know them yet."""
    OnlineFeatures(feast, SETTINGS).push([event("g", 60)], [1])
    return feast


def test_apply_in_the_folder_changes_nothing(pushed: Path) -> None:
    rows, registry = rows_online(pushed), registered(pushed)
    (pushed / REPOSITORY_FILE).unlink()  # a folder of an earlier release, which then meets this one
    open_store(pushed)
    printed = run_in(pushed, str(Path(sys.executable).parent / "feast"), "apply")
    assert "Deploying infrastructure for user_history" in printed
    assert "Removing" not in printed
    assert rows_online(pushed) == rows
    assert registered(pushed) == registry


def test_commands_list_look_up_and_materialize(pushed: Path) -> None:
    rows = rows_online(pushed)
    label = json.dumps([{"event_timestamp": "2026-01-01T00:00:04.5", "user_id": "u"}])
    past = ["get-historical-features", "-f", "user_history:history_items"]
    entities, views, services, dump, plan, *_, online, at, within = run_all(
        pushed,
        *([kind, "list"] for kind in ("entities", "feature-views", "feature-services")),
        ["registry-dump"],
        ["plan"],
        ["materialize", "--disable-event-timestamp"],
        ["materialize-incremental", "2026-06-01T00:00:00"],
        ["materialize", "2026-01-01T00:00:00", "2026-01-01T00:00:03"],
        ["get-online-features", "-e", "user_id=u", "-f", "user_history:history_items"],
        [*past, "-d", label],
        [*past, "-s", "2026-01-01 00:00:03", "-e", "2026-01-01 00:00:05"],
    )
    assert (names(entities), names(views), names(services)) == ({"user", "item"}, set(VIEWS), set(SERVICES))
    assert {view["spec"]["name"] for view in json.loads(dump)["featureViews"]} == set(VIEWS)
    assert "No changes to infrastructure" in plan
    assert json.loads(online)["history_items"] == [["e", "a", "g"]]  # the push is there, whatever was materialised
    assert [row["history_items"] for row in json.loads(at)] == [["b", "c", "d"]]
    assert {row["user_id"]: row["history_items"] for row in json.loads(within)} == {"u": ["c", "d", "a"], "v": ["c"]}
    assert rows_online(pushed) == rows


@pytest.mark.parametrize("command", ["delete", "teardown"])
def test_the_refresh_after_a_removal_rebuilds(pushed: Path, clean: Path, command: str) -> None:
    """What Feast's user removes comes back, though the clean tables are the same; a push does with the next ingest."""
    refreshed = pushed.parent / "other"
    refresh_features(clean, refreshed, SETTINGS)
    store = open_store(pushed)
    if command == "teardown":
        store.teardown()
    else:
        view = store.get_feature_view(USER_SEEN)
        store.apply([view], objects_to_delete=[view], partial=False)  # as the command does it
    assert read_published(pushed) is None
    assert refresh_features(clean, pushed, SETTINGS).rebuilt
    known = [view for view in VIEWS if command == "teardown" or view == USER_SEEN]
    assert {view: rows_online(pushed)[view] for view in known} == {view: rows_online(refreshed)[view] for view in known}


def test_a_store_in_postgres_can_be_applied_and_torn_down(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_url()
    if url is None:
        pytest.skip("no PostgreSQL answers")
    stores = settings(offline="postgres", registry="postgres", postgres=url)
    try:
        refresh_features(clean, tmp_path / "feast", SETTINGS, stores)
        rows, registry = rows_online(tmp_path / "feast"), registered(tmp_path / "feast")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path / "feast")
        monkeypatch.delitem(sys.modules, "definitions", raising=False)
        apply_total(open_store(tmp_path / "feast").config, tmp_path / "feast", False)  # what the command calls
        assert rows_online(tmp_path / "feast") == rows
        # Feast's SQL registry forgets a view's state at every apply; the next materialisation sets it again.
        state = ', "state": "AVAILABLE_ONLINE"'
        assert str(registered(tmp_path / "feast")) == str(registry).replace(state, "")
        open_store(tmp_path / "feast").teardown()
        assert refresh_features(clean, tmp_path / "feast", SETTINGS, stores).rebuilt
        assert rows_online(tmp_path / "feast") == rows
    finally:
        drop_schema(url, tmp_path / "feast")
