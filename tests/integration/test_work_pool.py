"""The deployments on a work pool: `prefect deploy` fills them in, and a worker does a run that was scheduled."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from core.layout import Layout
from flows.platform.deployments import read_topology
from tests.faults.shop import recipe_of, write_source

ROOT = Path(__file__).parents[2]
SHOP = "pooled"
SETTINGS = """
shop = "{shop}"
work_dir = "{work_dir}"
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory, prefect_server):
    """A work pool with the deployments on it; gives the work folder, and a way to call Prefect's command line."""
    work_dir = tmp_path_factory.mktemp("pooled")
    recipe = recipe_of(write_source(work_dir / "source"))
    settings = work_dir / "settings.toml"
    settings.write_text(SETTINGS.format(shop=SHOP, work_dir=work_dir))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SOMMELIER_", "BENTOML_HOME"))},
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(work_dir / "home-of-the-worker"),
    }

    def prefect(*words, **more):
        ran = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            cwd=ROOT,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
        return ran.stdout + ran.stderr

    prefect("work-pool", "create", "sommelier", "--type", "process")
    said = {"SOMMELIER_SETTINGS": str(settings), "SOMMELIER_RECIPE": recipe.model_dump_json()}
    prefect("deploy", "--all", "--prefect-file", "deployments/prefect.yaml", **said)
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        yield work_dir, prefect, client, recipe


@pytest.mark.long
def test_every_deployment_has_the_parameters_of_the_settings_and_its_automation(pool):
    work_dir, prefect, client, recipe = pool
    for entry in read_topology():
        name = entry["name"]
        found = client.read_deployment_by_name(f"{name}/{name}")
        assert found.work_queue_name == entry["work_pool"]["work_queue_name"]
        assert f"shop:{SHOP}" in found.tags
        given = found.parameters["params"]
        assert given["shop"] == SHOP
        assert given.get("recipe", {}).get("source") in (None, recipe.source.model_dump(mode="json"))
        assert found.job_variables["env"]["SOMMELIER_WORK_DIR"] == str(work_dir)
        if "triggers" in entry:
            told = prefect("automations", "inspect", f"{name}__automation_1")
            assert f"sommelier.wanted.{name}" in told
            assert "{{ event.payload.params | tojson }}" in told


@pytest.mark.long
def test_a_worker_does_a_run_that_was_scheduled(pool):
    work_dir, prefect, client, _ = pool
    named = DeploymentFilter(name=DeploymentFilterName(any_=["refresh-features"]))
    deadline = time.monotonic() + 90
    while not (due := [run for run in client.read_flow_runs(deployment_filter=named) if run.auto_scheduled]):
        assert time.monotonic() < deadline, "the server scheduled nothing"
        time.sleep(0.5)
    run = min(due, key=lambda one: one.expected_start_time)
    assert run.parameters["params"]["shop"] == SHOP
    client.set_flow_run_state(run.id, Scheduled(), force=True)  # it is time
    told = prefect("worker", "start", "--pool", "sommelier", "--type", "process", "--run-once")
    state = client.read_flow_run(run.id).state
    assert state.is_completed(), f"{state.message}\n{told[-3000:]}"
    assert (Layout(work_dir, SHOP).feast / "registry.db").exists() or any(Layout(work_dir, SHOP).feast.iterdir())
