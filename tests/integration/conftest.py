"""A shop and models small enough to go the whole way in seconds, and the processes that the tests need."""

import csv
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from core.settings.loading import load_settings
from flows.environment import child_environment
from flows.platform.parts import Platform, wait_until_answers

SMALL = {
    "recipe.source.n_users": 150,
    "recipe.source.n_items": 80,
    "recipe.source.n_days": 180,
    "recipe.encoder.max_tokens": 32,
    "recipe.sequence.width": 32,
    "recipe.sequence.max_epochs": 3,
    "recipe.generative.width": 16,
    "recipe.generative.max_epochs": 2,
    "recipe.scorer.max_epochs": 3,
    "recipe.writer.vocabulary": 600,
    "recipe.writer.width": 32,
    "recipe.writer.n_layers": 1,
    "recipe.writer.n_heads": 2,
    "recipe.writer.max_tokens": 64,
    "recipe.writer.max_steps": 30,
    # So small a shop says little of a model's quality; what is tested here is the way, not the figures.
    "recipe.gate.beat_baseline": "off",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def small_overrides(work_dir, **more):
    """`a.b=value` for a small shop that lives in `work_dir` and listens on free ports."""
    ports = {f"platform.{name}_port": free_port() for name in ("prefect", "service", "monitoring", "reports")}
    chosen = {"work_dir": str(work_dir), "shop": "small", **SMALL, **ports, **more}
    return [f"{name}={json.dumps(value)}" for name, value in chosen.items()]


@pytest.fixture(scope="session")
def small_settings():
    """Makes the settings of a small shop in a work folder."""
    return lambda work_dir, **more: load_settings(overrides=small_overrides(work_dir, **more))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """The API address of a Prefect server of this test run's own."""
    home = tmp_path_factory.mktemp("prefect-server")
    settings = load_settings(overrides=small_overrides(home))
    where = settings.platform
    platform = Platform(child_environment(settings), home / "logs")
    server = platform.start(
        "prefect", ["-m", "prefect", "server", "start", "--host", where.host, "--port", str(where.prefect_port)]
    )
    url = f"http://{where.host}:{where.prefect_port}/api"
    wait_until_answers(server, f"{url}/health", 120, threading.Event())
    yield url
    platform.stop()


@pytest.fixture(scope="session")
def flow_environment(prefect_server):
    """Makes the environment of a process that runs flows of the given settings against the test server."""
    return lambda settings: {**os.environ, **child_environment(settings), "PREFECT_API_URL": prefect_server}


@pytest.fixture(scope="session")
def run_flows(flow_environment):
    """Runs code in a process with the environment of some settings; gives the JSON that it printed, line by line."""

    def run(code, settings, *arguments, timeout_s=900):
        ran = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            check=False,
            env=flow_environment(settings),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]

    return run


def table_settings(root, shop, **more):
    """Settings of a shop that is read from `root / "data"`, with models that learn in seconds."""
    chosen = {
        "shop": shop,
        "work_dir": str(root / "work"),
        "recipe.source.kind": "tables",
        "recipe.source.path": str(root / "data"),
        "recipe.encoder.max_tokens": 16,
        "recipe.sequence.width": 16,
        "recipe.generative.enabled": False,
        **more,
    }
    return load_settings(overrides=[f"{name}={json.dumps(value)}" for name, value in chosen.items()])


def write_tables(folder, events, items):
    """The shop's tables: events of (user, item, time), items of (id, title, category)."""
    folder.mkdir(exist_ok=True)
    tables = {
        "interactions": [("user_id", "item_id", "timestamp"), *events],
        "items": [("item_id", "title", "category"), *items],
    }
    for name, table in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)
