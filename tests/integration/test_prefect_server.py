"""What the launcher asks of a Prefect server concerns one shop; the shops beside it go on undisturbed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running, Scheduled

from core.layout import Layout
from core.settings.tree import Recipe
from flows.errors import PartFailed
from flows.pipeline import pipeline
from flows.platform.deployments import RUNS_AT_ONCE, build_deployments, deployment_name
from flows.platform.prefect_server import (
    clear_stale_runs,
    pause_unserved,
    run_deployment,
    server_is_up,
    wait_for_deployments,
)
from flows.platform.served_shops import serving
from tests.integration.conftest import free_port

NEVER = float("inf")


@pytest.fixture
def client(prefect_server):
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as made:
        yield made


def register(shop, revision=None):
    """Register a shop's pipeline, as its runner does; returns the deployment's id."""
    [found] = [one for one in build_deployments(shop, Recipe(), None, revision) if one.flow_name == "pipeline"]
    return found.apply()


def start(client, deployment, state=None):
    run = client.create_flow_run_from_deployment(deployment, state=state)
    if state is None:
        client.set_flow_run_state(run.id, Running(), force=True)
    return run.id


def type_of(client, run):
    return client.read_flow_run(run).state.type.value


def test_only_the_runs_of_the_shop_and_those_of_before_shops_had_names_are_cleared(client):
    here, beside = register("cleared"), register("beside")
    old = pipeline.to_deployment("pipeline", parameters={"params": {}}, tags=["sommelier", "training"]).apply()
    now = datetime.now(UTC)
    late, soon = (Scheduled(scheduled_time=now + timedelta(hours=hours)) for hours in (-1, 1))
    running, kept = start(client, here), start(client, beside)
    missed, ahead, missed_beside = start(client, here, late), start(client, here, soon), start(client, beside, late)
    of_before = start(client, old)

    assert clear_stale_runs("cleared") == 3
    assert type_of(client, running) == type_of(client, of_before) == "CRASHED"
    assert type_of(client, missed) == "CANCELLED"
    assert type_of(client, kept) == "RUNNING"
    assert type_of(client, ahead) == type_of(client, missed_beside) == "SCHEDULED"
    assert clear_stale_runs("cleared") == 0


def test_the_schedules_of_shops_that_nobody_serves_rest_until_they_are_served_again(client, tmp_path):
    resting, served = register("resting"), register("served")
    with serving(Layout(tmp_path, "served").root, "r1"):
        paused = pause_unserved(tmp_path)
    assert "pipeline-resting" in paused
    assert "pipeline-served" not in paused
    assert client.read_deployment(resting).paused
    assert not client.read_deployment(served).paused
    assert register("resting") == resting
    assert not client.read_deployment(resting).paused


def test_a_deployment_of_an_earlier_launch_is_not_the_one_waited_for(client):
    register("waiting", "launch 1")
    name = deployment_name("pipeline", "waiting")
    with pytest.raises(PartFailed, match=r"pipeline-waiting, version=launch 1, expected version launch 2"):
        wait_for_deployments([name], "launch 2", 0, lambda: None)

    looks = []

    def register_at_the_second_look():
        looks.append(1)
        if len(looks) == 2:
            register("waiting", "launch 2")

    wait_for_deployments([name], "launch 2", 60, register_at_the_second_look)
    assert len(looks) == 2
    assert client.read_deployment_by_name(name).version == "launch 2"


def test_waiting_for_a_deployment_ends_when_a_part_has_ended(client):
    def lost():
        raise PartFailed("The platform lost a part", got="runner", expected="it to run", do="Read the log")

    with pytest.raises(PartFailed, match="lost a part"):
        wait_for_deployments([deployment_name("pipeline", "nobody")], "launch 1", NEVER, lost)


def test_a_server_that_is_gone_is_told_in_one_sentence():
    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}),
        pytest.raises(PartFailed, match="Lost the Prefect server"),
    ):
        run_deployment("pipeline/pipeline-shop", print, lambda: None)


def test_a_free_port_has_no_server(small_settings, tmp_path):
    assert not server_is_up(small_settings(tmp_path))


@pytest.fixture
def served(prefect_server):
    """The process that serves the deployments of `served_queues`."""
    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.served_queues"], env=environment, start_new_session=True
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(look, timeout_s=90):
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return found


def test_a_rollback_does_not_wait_for_what_fills_the_other_slots(client, served):
    def deployment(name):
        try:
            return client.read_deployment_by_name(name)
        except ObjectNotFound:
            return None

    slow = wait_until(lambda: deployment("take-long/queue-default"))
    quick = wait_until(lambda: deployment("be-quick/queue-rollback"))
    runs = [client.create_flow_run_from_deployment(slow.id).id for _ in range(RUNS_AT_ONCE["default"] + 1)]
    wait_until(lambda: [type_of(client, run) for run in runs].count("RUNNING") == RUNS_AT_ONCE["default"])
    back = client.create_flow_run_from_deployment(quick.id).id
    wait_until(lambda: type_of(client, back) == "COMPLETED")
    assert [type_of(client, run) for run in runs].count("RUNNING") == RUNS_AT_ONCE["default"]
    os.killpg(served.pid, signal.SIGTERM)
    assert served.wait(12) == 0  # before the launcher would insist
    assert [client.read_deployment(one.id).paused for one in (slow, quick)] == [True, True]
