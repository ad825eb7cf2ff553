"""Of each stage's results the newest few stay, and one that is used again counts as new."""

import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.layout import Layout
from core.logs.events import EventLog, Interaction
from core.logs.timeline import Timeline
from core.settings.platform import PlatformSettings
from core.settings.search import SearchSettings
from core.settings.tree import Recipe
from core.storage import UNFINISHED
from core.timing.clock import CLOCK
from flows.errors import DiskFull
from flows.params import AudienceParams, CanaryParams, ForgetParams, PipelineParams, ReadmitParams, TuneParams
from flows.platform.deployments import read_topology
from flows.promotion.model_store import promote
from flows.promotion.refits import labels_of
from flows.pruning import (
    ABANDONED_AFTER_S,
    mark_used,
    prune,
    prune_history,
    prune_searches,
    pruned,
    require_room,
    result_file,
    saying_full,
)
from flows.refresh_features import refresh_features
from flows.tune import tune
from recommender.bundle.manifest import read_manifest
from recommender.tuning.search import Search
from recommender.tuning.trial_evaluation import read_ndcg, write_ndcg
from tests.unit.flows.promotion.written_bundle import write_bundle

KEPT_RESULTS = PlatformSettings().kept_results


def test_the_oldest_results_go_and_a_used_one_stays(tmp_path):
    layout = Layout(tmp_path, "small")
    for age in range(KEPT_RESULTS + 2):
        _make(layout.clean(f"key{age}"), age)
    # A run leaves two of these: as it is judged, and of everything.
    for age in range(2 * KEPT_RESULTS + 1):
        _make(layout.component("writer", f"key{age}"), age)
        _make(layout.training(f"key{age}"), age)
    oldest = layout.clean(f"key{KEPT_RESULTS + 1}")
    unfinished = layout.clean(".being-written")
    unfinished.mkdir()
    os.utime(unfinished, (0, 0))
    mark_used(oldest)
    removed = prune(layout)
    assert oldest.exists()
    assert unfinished.exists()
    assert set(removed) == {
        layout.clean(f"key{KEPT_RESULTS - 1}"),
        layout.clean(f"key{KEPT_RESULTS}"),
        layout.component("writer", f"key{2 * KEPT_RESULTS}"),
        layout.training(f"key{2 * KEPT_RESULTS}"),
    }
    assert not any(folder.exists() for folder in removed)


def _make(folder, age):
    folder.mkdir(parents=True)
    os.utime(folder, (1_000_000 - age, 1_000_000 - age))


@pytest.mark.parametrize("place", [Layout.bundle, Layout.baseline_bundle])
def test_what_was_judged_in_place_of_the_bundle_in_service_stays(tmp_path, monkeypatch, place):
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    layout = Layout(tmp_path, "small")
    bundles = []
    for age in range(KEPT_RESULTS + 2):
        bundles.append(write_bundle(place(layout, f"key{age}"), f"digest{age}"))
        os.utime(bundles[-1], (1_000_000 - age, 1_000_000 - age))
    refit = write_bundle(layout.refit_bundle("key"), "refit", judged=f"digest{KEPT_RESULTS + 1}")
    promote(refit, layout.model_name, labels_of(read_manifest(refit)))
    assert prune(layout) == [bundles[KEPT_RESULTS]]
    other = write_bundle(tmp_path / "other", "other")
    promote(other, layout.model_name, labels_of(read_manifest(other)))
    assert prune(layout) == [bundles[KEPT_RESULTS + 1]]


def test_a_shop_that_never_ran_has_nothing_to_prune(tmp_path):
    assert prune(Layout(tmp_path, "new")) == []


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    layout = Layout(tmp_path, "small")
    left, fresh = layout.raw(f".old.1{UNFINISHED}"), layout.raw(f".new.2{UNFINISHED}")
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    os.utime(left, (time.time() - ABANDONED_AFTER_S - 60,) * 2)
    assert prune(layout) == [left]
    assert fresh.exists()


def test_what_was_left_unfinished_goes_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    layout = Layout(tmp_path, "small")
    places = [layout.root, layout.feast, layout.reports / "key" / "drift", tmp_path / "bentoml/models/sommelier-small"]
    left = [place / f".published.json.1{UNFINISHED}" for place in places]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
        os.utime(file, (0, 0))
    assert sorted(prune(layout)) == sorted(left)
    assert not any(file.exists() for file in left)


def test_what_its_writer_takes_away_meanwhile_is_not_what_a_kill_left(tmp_path, monkeypatch):
    layout = Layout(tmp_path, "small")
    writing = [layout.root / f".{name}{UNFINISHED}" for name in ("first", "second")]
    for file in writing:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    looked_at, lstat = [], Path.lstat

    def ending(path):
        if path in writing:
            found = lstat(path)
            looked_at.append(path)
            writing[1 - writing.index(path)].unlink()  # its writer gives it its name
            return found
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", ending)
    assert prune(layout) == []
    assert len(looked_at) == 1


def test_a_flow_says_that_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))

    def prepared(_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("flows.refresh_features.prepare", prepared)
    with pytest.raises(DiskFull, match=rf"error=OperationalError: database or disk is full.*\({tmp_path}\). Free room"):
        refresh_features.fn(PipelineParams(shop="small"))
    with pytest.raises(KeyError), saying_full(tmp_path):
        raise KeyError("another error stays what it is")


def test_where_room_is_short_old_results_go_before_a_step_stops(tmp_path, monkeypatch):
    layout, free = Layout(tmp_path, "small"), {"bytes": 10}
    for age in range(KEPT_RESULTS + 1):
        layout.clean(f"key{age}").mkdir(parents=True)
        os.utime(layout.clean(f"key{age}"), (1_000_000 - age, 1_000_000 - age))
    oldest = layout.clean(f"key{KEPT_RESULTS}")

    def disk_usage(_):
        return SimpleNamespace(free=free["bytes"] + 100 * (not oldest.exists()))

    monkeypatch.setattr("flows.pruning.shutil.disk_usage", disk_usage)
    require_room(layout, 10)
    assert oldest.exists()
    require_room(layout, 110)
    assert not oldest.exists()
    with pytest.raises(DiskFull, match=r"lack of room: free=.*platform.min_free_bytes"):
        require_room(layout, 111)


def test_what_prefect_keeps_of_a_removed_result_goes_with_it(tmp_path):
    layout = Layout(tmp_path, "small")
    for age in range(KEPT_RESULTS + 1):
        layout.clean(f"key{age}").mkdir(parents=True)
        os.utime(layout.clean(f"key{age}"), (1_000_000 - age, 1_000_000 - age))
        result_file(layout, f"key{age}").parent.mkdir(parents=True, exist_ok=True)
        result_file(layout, f"key{age}").touch()
    prune(layout)
    assert [result_file(layout, f"key{age}").exists() for age in range(KEPT_RESULTS + 1)] == [True] * 3 + [False]


def test_a_removal_that_is_killed_leaves_no_half_of_a_result(tmp_path, monkeypatch):
    layout = Layout(tmp_path, "small")
    for age in range(KEPT_RESULTS + 1):
        layout.clean(f"key{age}").mkdir(parents=True)
        os.utime(layout.clean(f"key{age}"), (1_000_000 - age, 1_000_000 - age))

    def kill(folder, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            prune(layout)
    assert not layout.clean(f"key{KEPT_RESULTS}").exists()
    [left] = [folder for folder in layout.clean("key0").parent.iterdir() if folder.name.startswith(".")]
    os.utime(left, (0, 0))
    assert prune(layout) == [left]
    assert not left.exists()


def test_what_runs_left_goes_after_the_days_of_the_settings(tmp_path):
    old, used = (result_file(Layout(tmp_path, "small"), key) for key in ("old", "used"))
    steps = tmp_path / "steps" / "run.jsonl"
    for file in (old, used, steps):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (time.time() - 31 * 24 * 3600,) * 2)
    mark_used(used)
    assert set(prune_history(tmp_path, 30)) == {old, steps}
    assert used.exists()
    assert prune_history(tmp_path, 30) == []


def test_a_search_that_nobody_went_on_with_goes_with_its_trials(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    layout = Layout(tmp_path, "vineyard")
    space = {"sequence.dropout": {"low": 0.1, "high": 0.6}}

    def search(data):
        found = Search.open(layout.searches, data, Recipe(), SearchSettings(space=space, n_trials=2))
        if not layout.search(found.name).exists():
            found.complete(found.next_trial(), 0.5, 1.0)
            write_ndcg(layout.trial_ndcg(found.name, 0, 1), np.ones(3))
        return found

    old, young = search("old"), search("young")
    os.utime(layout.search(old.name), (time.time() - 31 * 24 * 3600,) * 2)
    pruned(_nothing)(PipelineParams(shop="vineyard"))
    assert not layout.search(old.name).exists()
    assert [len(one.records()) for one in (search("old"), search("young"))] == [1, 1]
    assert read_ndcg(layout.trial_ndcg(young.name, 0, 1)).tolist() == [1, 1, 1]
    # Whose figures are gone begins anew.
    assert Search.open(layout.searches, "old", Recipe(), SearchSettings(space=space, n_trials=2)).name == old.name
    assert prune_searches(layout, 30) == []


def test_a_search_that_is_gone_on_with_counts_as_new(tmp_path, caplog, monkeypatch):
    layout = Layout(tmp_path, "vineyard")
    for name in ("left", "gone-on-with"):
        layout.search(name).mkdir(parents=True)
        os.utime(layout.search(name), (0, 0))
    mark_used(layout.search("gone-on-with"))
    with monkeypatch.context() as patch:
        patch.setattr(Search, "remove", _locked)
        assert prune_searches(layout, 30) == []
    assert "No search is pruned: database is locked" in caplog.text
    assert prune_searches(layout, 30) == [layout.search("left")]
    assert layout.search("gone-on-with").is_dir()


def test_a_search_without_figures_is_as_old_as_its_last_trial(tmp_path):
    """None has a folder: of one the only trial failed, of one no trial began, of one the figures were removed."""
    layout = Layout(tmp_path, "vineyard")
    settings = SearchSettings(space={"sequence.dropout": {"low": 0.1, "high": 0.6}}, n_trials=2)
    names = {}
    for data in ("failed", "unbegun", "removed", "young"):
        search = Search.open(layout.searches, data, Recipe(), settings)
        names[data] = search.name
        if data == "failed":
            search.fail(search.next_trial(), "no room", 1.0)
        elif data != "unbegun":
            search.complete(search.next_trial(), 0.5, 1.0)
    with closing(sqlite3.connect(layout.searches)) as file, file:
        old = "UPDATE trials SET datetime_start = datetime(datetime_start, '-31 days'), "
        old += "datetime_complete = datetime(datetime_complete, '-31 days') WHERE study_id IN "
        file.execute(old + "(SELECT study_id FROM studies WHERE study_name <> ?)", (names["young"],))
    assert set(prune_searches(layout, 30)) == {layout.search(names["failed"]), layout.search(names["removed"])}
    assert Search.last_trials(layout.searches).keys() == {names["unbegun"], names["young"]}
    # What never had a trial is as old as the flow that saw it first.
    os.utime(layout.search(names["unbegun"]), (time.time() - 31 * 24 * 3600,) * 2)
    assert prune_searches(layout, 30) == [layout.search(names["unbegun"])]
    assert Search.last_trials(layout.searches).keys() == {names["young"]}


def test_a_search_that_is_taken_up_again_counts_as_new_before_its_first_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    layout, at_work = Layout(tmp_path, "vineyard"), []

    def look(run, training, search, settings):
        at_work.append((search.name, prune_searches(layout, 30)))
        if len(at_work) == 1:
            search.fail(search.next_trial(), "no room", 1.0)
        raise OSError("enough")

    data = SimpleNamespace(clean=None, key="training", folder=tmp_path)
    monkeypatch.setattr("flows.tune.prepare", lambda _: data)
    monkeypatch.setattr("flows.tune.collect_training_set", lambda *_, **__: data)
    monkeypatch.setattr("flows.tune.check_shop", lambda *_: None)
    monkeypatch.setattr("flows.tune.tuning.run_trials", look)
    settings = SearchSettings(space={"sequence.dropout": {"low": 0.1, "high": 0.6}}, n_trials=2)
    params = TuneParams(shop="vineyard", search=settings)
    with pytest.raises(OSError, match="enough"):
        tune.fn(params)
    [(name, _)] = at_work
    layout.search(name).rmdir()
    with closing(sqlite3.connect(layout.searches)) as file, file:
        file.execute("UPDATE trials SET datetime_start = '2020-01-01', datetime_complete = '2020-01-01'")
    with pytest.raises(OSError, match="enough"):
        tune.fn(params)
    assert at_work[1:] == [(name, [])]


def _locked(*_):
    raise OSError("database is locked")


_WRITING = [entry["entrypoint"] for entry in read_topology() if entry["name"] != "rollback"]


@pytest.mark.parametrize("entrypoint", _WRITING)
def test_every_flow_that_writes_prunes_even_where_it_fails(tmp_path, monkeypatch, entrypoint):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    layout = Layout(tmp_path, "small")
    for age in range(KEPT_RESULTS + 2):
        layout.raw(f"key{age}").mkdir(parents=True)
    old = result_file(layout, "old")
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old, (0, 0))

    def fail(*_):
        raise OSError("the data are gone")

    monkeypatch.setattr("flows.steps.run.Run.of", fail)
    monkeypatch.setattr("flows.forget.get_run_logger", fail)  # with nobody to forget it asks for no run
    file, _, name = entrypoint.partition(":")
    flow = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    monkeypatch.setattr("flows.follow_canary.follow_newest", fail)
    others = {
        "follow_canary": CanaryParams,
        "tune": TuneParams,
        "readmit": ReadmitParams,
        "forget": ForgetParams,
        "write_feedback": AudienceParams,
    }
    params = others.get(name, PipelineParams)(shop="small")
    [checked] = flow.validate_parameters({"params": params.model_dump(mode="json")}).values()
    with pytest.raises(OSError, match="the data are gone"):
        flow.fn(checked)
    assert len(list(layout.raw("key").parent.iterdir())) == KEPT_RESULTS
    assert not old.exists()


def test_a_flow_leaves_as_much_of_the_time_line_as_the_settings_say(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    monkeypatch.setenv("SOMMELIER_LOOP", '{"timeline_entries": 100}')
    timeline = Timeline(Layout(tmp_path, "vineyard").timeline)
    for number in range(103):
        timeline.add("gate", f"{number}", "refused", "It was worse.")
    pruned(_nothing)(PipelineParams(shop="vineyard"))
    assert [entry.subject for entry in timeline.read()] == [str(number) for number in range(3, 103)]


def test_a_flow_seals_events_that_are_as_old_as_the_settings_say(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    monkeypatch.setattr("core.logs.events.EventLog.seal", partialmethod(EventLog.seal, at_least=2))
    layout = Layout(tmp_path, "vineyard")
    pruned(_nothing)(PipelineParams(shop="vineyard"))
    assert not layout.root.exists()
    log = EventLog(layout.events)
    received = datetime.now(UTC) - timedelta(days=20)
    with monkeypatch.context() as patch:
        patch.setattr(CLOCK, "now", lambda: received)
        log.append([Interaction(f"{n}", "u", "i", "view", received) for n in range(2)])
    log.append([Interaction("new", "u", "i", "view", received)])
    before = list(log.read())
    pruned(_nothing)(PipelineParams(shop="vineyard"))
    assert not layout.sealed_events.exists()
    monkeypatch.setenv("SOMMELIER_PLATFORM", '{"sealed_after_days": 19}')
    refresh = pruned(_nothing)
    refresh(PipelineParams(shop="vineyard"))
    (segment,) = layout.sealed_events.iterdir()
    assert pq.read_table(segment, partitioning=None)["event_id"].to_pylist() == ["0", "1"]
    assert list(log.read()) == before
    segment.unlink()
    refresh(PipelineParams(shop="vineyard"))  # how the flow ended is not hidden
    assert "Cannot seal the event log" in caplog.text


def _nothing(params: PipelineParams) -> None:
    """A flow without work."""
