"""Prometheus knows of runs whose process was killed: the runner beside it says so, or the Prefect server."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from inspect import getsource
from types import SimpleNamespace

import httpx
import pytest

from core.layout import Layout
from flows import pruning
from flows.platform.deployments import read_topology
from flows.pruning import HOOKS, publish_end, publish_lost
from flows.reporting.gauges import publish_run


@pytest.mark.parametrize("hook", ["on_crashed", "on_cancellation"])
def test_of_a_run_that_was_killed_prometheus_knows(tmp_path, monkeypatch, hook):
    layout = Layout(tmp_path, "vineyard")
    layout.root.mkdir()
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    run = SimpleNamespace(id="id-1", name="run 1", parameters={"params": {"shop": "vineyard"}})
    for one in HOOKS[hook]:
        one(flow=SimpleNamespace(name="refresh-features"), flow_run=run, state=None)
    told = "".join(file.read_text() for file in layout.gauges.iterdir())
    assert 'sommelier_run_ended_timestamp_seconds{flow="refresh-features",state="failed"}' in told
    assert "sommelier_run_duration_seconds{" not in told


NOW = datetime.now(UTC)


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path, "vineyard")
    made.root.mkdir()
    return made


def ends(layout):
    """When runs of the pipeline ended last, by how."""
    lines = [line for file in layout.gauges.glob("*.prom") for line in file.read_text().splitlines()]
    told = [line for line in lines if line.startswith('sommelier_run_ended_timestamp_seconds{flow="pipeline"')]
    return {line.partition('state="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in told}


def test_of_a_run_that_only_the_server_knows_to_be_lost_prometheus_knows_once(layout, monkeypatch):
    now, asked = datetime.now(UTC), []
    crashed = {"pipeline": now + timedelta(minutes=1)}
    monkeypatch.setattr(pruning, "crashed_runs", lambda shop, since: asked.append(since) or crashed)
    publish_run(layout, "pipeline", "completed")
    publish_lost(layout)
    assert ends(layout)["failed"] == crashed["pipeline"].timestamp() > ends(layout)["completed"]
    assert now - timedelta(days=8) < asked[0] < now - timedelta(days=6)


def test_what_is_known_of_a_later_end_stays(layout, monkeypatch):
    publish_run(layout, "pipeline", "failed")
    known = ends(layout)
    monkeypatch.setattr(pruning, "crashed_runs", lambda *_: {"pipeline": NOW - timedelta(minutes=1)})
    publish_lost(layout)
    assert ends(layout) == known


def test_a_run_that_was_lost_before_a_success_is_older_than_that(layout, monkeypatch):
    publish_run(layout, "pipeline", "completed")
    monkeypatch.setattr(pruning, "crashed_runs", lambda *_: {"pipeline": NOW - timedelta(minutes=1)})
    publish_lost(layout)
    assert ends(layout)["failed"] < ends(layout)["completed"]


def test_a_server_that_does_not_answer_fails_no_flow(layout, monkeypatch, caplog):
    def away(*_):
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(pruning, "crashed_runs", away)
    publish_lost(layout)
    assert "refused" in caplog.text


def test_each_flow_that_ends_asks_the_server(layout, monkeypatch):
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(layout.work_dir))
    monkeypatch.setattr(pruning, "runtime", SimpleNamespace(id="id-1"))
    monkeypatch.setattr(pruning, "crashed_runs", lambda shop, _: {f"lost-of-{shop}": NOW})
    pruning.pruned(lambda params: None)(SimpleNamespace(shop="vineyard"))
    assert "run-lost-of-vineyard-failed.prom" in {file.name for file in layout.gauges.iterdir()}


def test_whatever_tells_prometheus_of_its_end_is_told_of_when_it_is_killed():
    hooked = {}
    for entry in read_topology():
        module = import_module(entry["entrypoint"].partition(":")[0].removesuffix(".py").replace("/", "."))
        flow = getattr(module, entry["entrypoint"].partition(":")[2])
        hooks = [flow.on_crashed_hooks, flow.on_cancellation_hooks]
        hooked[entry["name"]] = ("\n@pruned\n" in getsource(module), all(publish_end in found for found in hooks))
    assert hooked["forget"] == (True, True)
    assert {name: told for name, (prunes, told) in hooked.items() if prunes != told} == {}
