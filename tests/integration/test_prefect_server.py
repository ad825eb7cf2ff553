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
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventIDFilter
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running, Scheduled, Suspended

from core.layout import Layout
from core.settings.loading import load_settings
from core.settings.tree import Recipe
from flows.erasure.person import Person
from flows.erasure.prefect_runs import clear_runs, count_runs, is_out_of_reach
from flows.errors import PartFailed
from flows.loop.prefect_runs import crashed_runs
from flows.pipeline import pipeline
from flows.platform.deployments import RUNS_AT_ONCE, build_deployments, deployment_name
from flows.platform.prefect_server import (
    FOLLOWED,
    clear_stale_runs,
    pages,
    pause_unserved,
    run_deployment,
    server_is_up,
    wait_for_deployments,
)
from flows.platform.served_shops import serving
from flows.platform.work_pool import watch_runs
from tests.integration.conftest import free_port

NEVER = float("inf")


@pytest.fixture
def client(prefect_server):
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as made:
        yield made


def register(shop, revision=None, flow="pipeline"):
    """Register a shop's deployment of a flow, as its runner does; returns the deployment's id."""
    [found] = [one for one in build_deployments(shop, Recipe(), None, revision) if one.flow_name == flow]
    return found.apply()


def start(client, deployment, state=None):
    run = client.create_flow_run_from_deployment(deployment, state=state)
    if state is None:
        client.set_flow_run_state(run.id, Running(), force=True)
    return run.id


def by_schedule(client, deployment):
    """A run that a schedule made, whose time passed an hour ago."""
    begin = datetime.now(UTC) - timedelta(hours=1)
    found = client.read_deployment(deployment)
    every = {"schedule": {"interval": 3600, "anchor_date": begin.isoformat()}, "active": True}
    client._client.post(f"/deployments/{found.id}/schedules", json=[every]).raise_for_status()
    body = {
        "start_time": (begin - timedelta(minutes=1)).isoformat(),
        "end_time": datetime.now(UTC).isoformat(),
        "max_runs": 1,
    }
    client._client.post(f"/deployments/{found.id}/schedule", json=body).raise_for_status()
    (made,) = [
        run
        for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
        )
        if run.auto_scheduled and run.expected_start_time < datetime.now(UTC)
    ]
    return made.id


def type_of(client, run):
    return client.read_flow_run(run).state.type.value


def test_only_the_runs_of_the_shop_and_those_of_before_shops_had_names_are_cleared(client, tmp_path):
    layout = Layout(tmp_path, "cleared")
    layout.root.mkdir()
    here, beside = register("cleared"), register("beside")
    old = pipeline.to_deployment("pipeline", parameters={"params": {}}, tags=["sommelier", "training"]).apply()
    now = datetime.now(UTC)
    late, soon = (Scheduled(scheduled_time=now + timedelta(hours=hours)) for hours in (-1, 1))
    asked, asked_late = start(client, here, Scheduled(scheduled_time=now)), start(client, here, late)
    running, kept = start(client, here), start(client, beside)
    missed, ahead, missed_beside = by_schedule(client, here), start(client, here, soon), by_schedule(client, beside)
    of_before = start(client, old)

    to_forget = register("cleared", flow="forget")
    followed, forgetting = (
        client.create_flow_run_from_deployment(to_forget, parameters={"params": params}, state=late, tags=[FOLLOWED]).id
        for params in ({}, {"user": "u1"})
    )

    assert clear_stale_runs(layout) == 4
    # Of those that were on their way, not of what never began.
    assert [file.name for file in layout.gauges.iterdir()] == ["run-pipeline-failed.prom"]
    assert (type_of(client, followed), type_of(client, forgetting)) == ("CANCELLED", "SCHEDULED")
    assert type_of(client, running) == type_of(client, of_before) == "CRASHED"
    assert type_of(client, missed) == "CANCELLED"
    assert type_of(client, kept) == "RUNNING"
    assert type_of(client, ahead) == type_of(client, missed_beside) == "SCHEDULED"
    assert type_of(client, asked) == type_of(client, asked_late) == "SCHEDULED"  # somebody who is to be forgotten, say
    assert clear_stale_runs(layout) == 0


def test_no_parameters_of_the_shop_name_a_person_who_is_forgotten(client, tmp_path):
    """Whatever database the server keeps them in: the command and flows ask the server."""
    here, beside = (register(shop, flow="write-feedback") for shop in ("forgetting", "remembering"))
    person, ours = Person("person-4711"), {"params": {"users": ["u1", "person-4711"]}}
    runs = [client.create_flow_run_from_deployment(one, parameters=ours).id for one in (here, beside)]
    asked = {"params": {"user": "person-4711"}}
    to_forget = client.create_flow_run_from_deployment(register("forgetting", flow="forget"), parameters=asked).id
    other = client.create_flow_run_from_deployment(here, parameters={"params": {"users": ["u1"]}}).id
    assert count_runs("forgetting", person) == 2
    assert clear_runs("forgetting", person) == 2
    told = [client.read_flow_run(run).parameters["params"] for run in runs]
    assert told == [{"users": ["u1", "forgotten"]}, ours["params"]]
    assert client.read_flow_run(to_forget).parameters == {"params": {"user": ""}}
    assert client.read_flow_run(other).parameters == {"params": {"users": ["u1"]}}
    assert (count_runs("forgetting", person), clear_runs("forgetting", person)) == (0, 0)
    result = tmp_path / "results" / "one"
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        assert clear_runs("remembering", person) == 0
        assert not is_out_of_reach(tmp_path)  # nothing ever ran
        result.parent.mkdir()
        result.touch()
        assert is_out_of_reach(tmp_path)
        (tmp_path / "prefect.db").touch()  # it is searched as a file
        assert not is_out_of_reach(tmp_path)
    (tmp_path / "prefect.db").unlink()
    assert not is_out_of_reach(tmp_path)


def test_a_run_that_was_approved_goes_on_after_a_restart(client, tmp_path):
    layout = Layout(tmp_path, "approved")
    run = start(client, register("approved"))
    client.set_flow_run_state(run, Suspended(timeout_seconds=3600), force=True)
    assert clear_stale_runs(layout) == 0
    assert client.resume_flow_run(run).status.value == "ACCEPT"
    assert clear_stale_runs(layout) == 0
    assert type_of(client, run) == "SCHEDULED"


def test_the_schedules_of_shops_that_nobody_serves_rest_until_they_are_served_again(client, tmp_path):
    resting, served = register("resting"), register("served")
    with serving(Layout(tmp_path, "served").root, "r1"):
        paused = pause_unserved(load_settings(overrides=[f"work_dir={tmp_path}"]))
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


@pytest.mark.long
def test_a_run_of_which_nothing_is_heard_any_more_is_crashed_and_known_to_be(client, monkeypatch):
    """Of its flow Prometheus is told; one that waits for approval says nothing either, and neither counts twice."""
    monkeypatch.setenv("SOMMELIER_SHOP", "silent")
    monkeypatch.delenv("SOMMELIER_SETTINGS", raising=False)
    for _ in range(2):  # the second time it is there
        watch_runs(within_s=15)
    names = [one.name for one in pages(lambda limit, offset: client.read_automations(limit=limit, offset=offset))]
    assert names.count("sommelier silent runs that were lost") == 1
    silent, waiting, other = (start(client, register(shop)) for shop in ("silent", "silent", "another"))
    for run, shop in ((silent, "silent"), (waiting, "silent"), (other, "another")):
        tag = {"prefect.resource.id": f"prefect.tag.shop:{shop}", "prefect.resource.role": "tag"}
        beat = emit_event(
            "prefect.flow-run.heartbeat", {"prefect.resource.id": f"prefect.flow-run.{run}"}, related=[tag]
        )
    known = EventFilter(id=EventIDFilter(id=[beat.id]))
    wait_until(lambda: client.read_events(known, limit=1).events)
    time.sleep(1)  # it was written, and is looked at
    client.set_flow_run_state(waiting, Suspended(timeout_seconds=3600), force=True)
    wait_until(lambda: type_of(client, silent) == "CRASHED")
    since = datetime.now(UTC) - timedelta(hours=1)
    assert list(crashed_runs("silent", since)) == ["pipeline"]
    assert crashed_runs("silent", datetime.now(UTC)) == {}
    time.sleep(17)
    assert [type_of(client, run) for run in (waiting, other)] == ["PAUSED", "RUNNING"]


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
