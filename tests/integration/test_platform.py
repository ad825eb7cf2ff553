"""`sommelier up` as a user runs it: everything starts, works through its own interfaces, and stops on Ctrl-C."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import httpx
import psutil
import pytest

from core.layout import Layout
from core.settings.loading import load_settings
from docs.site.pages import NOTEBOOKS
from flows.last_validation import require_validation
from tests.integration.conftest import small_overrides
from tests.notebooks import run
from validation.quarantine.readmission import export, select

FLOWS = {
    "pipeline",
    "refresh-features",
    "fine-tune",
    "tune",
    "monitor",
    "follow-canary",
    "rollback",
    "readmit",
    "forget",
    "write-feedback",
}
WAIT_S = 120  # for an answer: servers share their processors with runs, which a busy machine makes slow
ARTIFACTS = {"validation-summary", "metrics", "history-lengths", "promotion-decision", "drift-summary", "steps"}


class RunningPlatform:
    """A `sommelier up` in a process of its own, its output kept."""

    def __init__(self, work_dir, *options, **more):
        overrides = small_overrides(work_dir, **more)
        self.settings = load_settings(overrides=overrides)
        sets = [part for override in overrides for part in ("--set", override)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *options, *sets],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def output(self):
        return "".join(self.lines)

    def wait_for(self, text, timeout_s):
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.2)

    def url(self, part, path):
        return f"http://127.0.0.1:{getattr(self.settings.platform, part + '_port')}{path}"

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def prefect(self, path, body):
        deadline = time.monotonic() + WAIT_S
        # 503 is Prefect's word for a SQLite that is busy; its own client waits and asks again.
        while (answer := httpx.post(self.url("prefect", f"/api{path}"), json=body, timeout=WAIT_S)).status_code == 503:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def recommend(self, **body):
        return httpx.post(self.url("service", "/v1/recommend"), json=body, timeout=WAIT_S)


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    running = RunningPlatform(tmp_path_factory.mktemp("platform"))
    try:
        running.wait_for("Ctrl-C stops everything", 400)
        yield running
    finally:
        running.stop()


def deployment_of(platform, flow, shop="small"):
    [found] = [d for d in platform.prefect("/deployments/filter", {}) if d["name"] == f"{flow}-{shop}"]
    return found


def run_deployment(platform, name, params):
    """Trigger a deployment through the server's REST API, and wait for its end."""
    deployment = deployment_of(platform, name)
    full = {"params": {**deployment["parameters"]["params"], **params}}
    run = platform.prefect(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": full})
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        state = httpx.get(platform.url("prefect", f"/api/flow_runs/{run['id']}"), timeout=WAIT_S).json()["state"]
        if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
            return state, run["id"]
        time.sleep(0.5)
    raise AssertionError(f"{name} did not end in time")


def test_the_output_shows_progress_where_to_look_and_a_first_answer(platform):
    for part in ("prefect", "service", "monitoring", "reports"):
        assert platform.url(part, "") in platform.output
    assert "after fine-tuning" in platform.output
    curl = re.search(r"curl -s (\S+) .*-d '(.*)'", platform.output)
    body = json.loads(curl[2])
    answer = httpx.post(curl[1], json=body, timeout=WAIT_S).json()
    assert len(answer["items"]) == body["k"]
    assert answer["cold_start"] is False


def test_the_deployments_are_served_with_forms(platform):
    deployments = platform.prefect("/deployments/filter", {})
    assert {d["name"] for d in deployments} == {f"{flow}-small" for flow in FLOWS}
    assert len({d["version"] for d in deployments}) == 1
    assert all("params" in d["parameter_openapi_schema"]["properties"] for d in deployments)


def test_the_run_left_its_artifacts(platform):
    keys = {a["key"] for a in platform.prefect("/artifacts/filter", {})}
    assert keys >= ARTIFACTS


def test_the_data_docs_that_the_artifact_links_to_are_there(platform):
    [summary] = platform.prefect("/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["validation-summary"]}}})
    link = re.search(r"\[Data Docs\]\((\S+)\)", summary["data"])[1]
    page = httpx.get(link, timeout=WAIT_S, follow_redirects=True)
    assert page.status_code == 200
    assert "expectation" in page.text.lower()


def test_evidently_shows_the_project(platform):
    projects = httpx.get(platform.url("monitoring", "/api/projects"), timeout=WAIT_S).json()
    assert "small" in json.dumps(projects)


def test_a_run_from_the_rest_api_does_the_real_work_and_the_service_swaps(platform):
    before = httpx.get(platform.url("service", "/v1/model"), timeout=WAIT_S).json()
    deployment = deployment_of(platform, "fine-tune")
    recipe = deployment["parameters"]["params"]["recipe"]
    recipe = {**recipe, "seed": 8, "gate": {**recipe["gate"], "tolerance": 1.0}}
    state, _ = run_deployment(platform, "fine-tune", {"recipe": recipe})
    assert state["type"] == "COMPLETED", state["message"]
    deadline = time.monotonic() + WAIT_S
    while (after := httpx.get(platform.url("service", "/v1/model"), timeout=WAIT_S).json())["model"] == before["model"]:
        assert time.monotonic() < deadline, "the service did not swap"
        time.sleep(0.3)
    assert after["manifest"]["recipe"]["seed"] == 8

    state, _ = run_deployment(platform, "rollback", {"reason": "a test"})
    assert state["type"] == "COMPLETED", state["message"]
    deadline = time.monotonic() + WAIT_S
    while (back := httpx.get(platform.url("service", "/v1/model"), timeout=WAIT_S).json())["model"] == after["model"]:
        assert time.monotonic() < deadline, "the service did not swap back"
        time.sleep(0.3)
    assert back["manifest"]["digest"] == before["manifest"]["digest"]


@pytest.mark.parametrize("name", ["monitor", "refresh-features"])
def test_the_scheduled_deployments_run(platform, name):
    state, _ = run_deployment(platform, name, {})
    assert state["type"] == "COMPLETED", state["message"]


SEARCH = {
    "method": "grid",
    "n_trials": 4,
    "n_confirming_seeds": 0,
    "space": {"neighbours.regularisation": {"choices": [5.0, 50.0, 500.0, 5000.0]}},
}


def shown_trials(platform, run):
    chosen = {"artifacts": {"key": {"any_": ["trials"]}, "flow_run_id": {"any_": [run]}}}
    tables = platform.prefect("/artifacts/filter", chosen)
    return json.loads(tables[0]["data"]) if tables else []


def flow_run_processes(platform):
    commands = ((process, " ".join(process.cmdline())) for process in platform.family())
    return [process for process, command in commands if "prefect.engine" in command]


@pytest.mark.slow
def test_a_killed_search_goes_on_and_leaves_its_trials_and_a_settings_file(platform):
    deployment = deployment_of(platform, "tune")
    params = {"params": {**deployment["parameters"]["params"], "search": SEARCH}}
    killed = platform.prefect(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": params})["id"]
    deadline = time.monotonic() + 240
    while not any(row["state"] == "complete" for row in shown_trials(platform, killed)):
        assert time.monotonic() < deadline, "no trial was shown"
        time.sleep(0.1)
    for process in flow_run_processes(platform):
        process.kill()
    before = {row["trial"]: row for row in shown_trials(platform, killed) if row["state"] == "complete"}

    state, run = run_deployment(platform, "tune", {"search": SEARCH})
    assert state["type"] == "COMPLETED", state["message"]
    rows = shown_trials(platform, run)
    assert [row["state"] for row in rows] == ["complete"] * 4
    assert [row["ndcg_at_10"] for row in rows] == sorted((row["ndcg_at_10"] for row in rows), reverse=True)
    # The recipe's own 50 is the first trial and none of the grid's; what was done before the kill is as it was.
    assert sorted(row["neighbours.regularisation"] for row in rows) == [5.0, 50.0, 500.0, 5000.0]
    assert {name: row for row in rows if (name := row["trial"]) in before} == before
    tasks = platform.prefect("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    assert any(task["name"] == "trial-003" for task in tasks)

    tuned = load_settings(Layout(platform.settings.work_dir, "small").tuned)
    assert tuned.shop == "small"
    given = platform.settings.recipe.model_copy(update={"neighbours": tuned.recipe.neighbours})
    assert tuned.recipe == given
    assert tuned.recipe.neighbours.regularisation == rows[0]["neighbours.regularisation"]


def test_corrected_rows_come_out_of_quarantine(platform, tmp_path):
    validated = require_validation(Layout(platform.settings.work_dir, "small"))
    rows = [row for row in select(validated.quarantine, "interactions") if row.rules == ("value_in_range",)]
    assert rows
    corrected = tmp_path / "corrected.jsonl"
    export([replace(row, values={**row.values, "value": "4"}) for row in rows], corrected)
    state, _ = run_deployment(platform, "readmit", {"corrections": str(corrected)})
    assert state["type"] == "COMPLETED", state["message"]
    [told] = platform.prefect("/artifacts/latest/filter", {"artifacts": {"key": {"any_": ["readmission"]}}})
    counts = re.search(r"\| interactions \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", told["data"])
    clean_before, clean_after, bad_before, bad_after = map(int, counts.groups())
    assert clean_after == clean_before + len(rows)
    assert bad_after == bad_before  # the source still has them as they were


def test_the_notebook_looks_at_the_shop_and_asks_its_service(platform, monkeypatch):
    """Where a bundle is in service it fits nothing: it shows what is there."""
    monkeypatch.chdir(NOTEBOOKS)
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(platform.settings.work_dir))
    monkeypatch.setenv("SOMMELIER_SHOP", "small")
    monkeypatch.setenv("SOMMELIER_PLATFORM__SERVICE_PORT", str(platform.settings.platform.service_port))
    found = run(NOTEBOOKS / "first_look.ipynb")
    assert {f"text encoder, {when} fine-tuning" for when in ("before", "after")} <= set(found["figures"].index)
    assert found["shown"].model == httpx.get(platform.url("service", "/v1/model"), timeout=WAIT_S).json()["model"]
    assert len(found["shown"].items) == 5
    assert any(item.because for item in found["shown"].items)
    assert any(found["reasons"].values())
    assert found["before"].items != found["after"].items
    assert len(found["interactions"]) == require_validation(found["layout"]).tables["interactions"].rows_clean


def test_a_parameter_that_is_out_of_range_is_refused(platform):
    deployment = deployment_of(platform, "pipeline")
    params = {**deployment["parameters"]["params"], "shopp": "x"}
    answer = httpx.post(
        platform.url("prefect", f"/api/deployments/{deployment['id']}/create_flow_run"),
        json={"parameters": {"params": params}},
        timeout=WAIT_S,
    )
    assert answer.status_code == 409
    assert "shopp" in answer.text


def test_a_missing_source_fails_the_run_with_what_to_do(platform, tmp_path):
    deployment = deployment_of(platform, "pipeline")
    recipe = {**deployment["parameters"]["params"]["recipe"]}
    recipe["source"] = {"kind": "amazon-2014", "path": str(tmp_path / "nothing-here.json")}
    state, _ = run_deployment(platform, "pipeline", {"shop": "missing", "recipe": recipe})
    assert state["type"] == "FAILED"
    assert "nothing-here.json" in state["message"]


SECOND = {"shop": "second", "recipe.source.n_users": 120, "recipe.generative.enabled": False}


def recipe_in_service(platform):
    """The recipe of the bundle that the output of `up` names."""
    name, version = re.search(r"^in service: (\S+):(\S+) ", platform.output, re.MULTILINE).groups()
    assert name == f"sommelier-{platform.settings.shop}"
    bundle = platform.settings.work_dir / "bentoml" / "models" / name / version
    return json.loads((bundle / "manifest.json").read_text())["recipe"]


@pytest.mark.slow
def test_a_second_shop_joins_the_server_and_leaves_it_to_the_first(platform):
    port = platform.settings.platform.prefect_port
    second = RunningPlatform(platform.settings.work_dir, **SECOND, **{"platform.prefect_port": port})
    try:
        second.wait_for("Ctrl-C stops everything", 400)
        assert recipe_in_service(second)["source"]["n_users"] == 120
        models = [
            httpx.get(one.url("service", "/v1/model"), timeout=WAIT_S).json()["model"] for one in (platform, second)
        ]
        assert [model.partition(":")[0] for model in models] == ["sommelier-small", "sommelier-second"]
        assert not deployment_of(platform, "monitor", "second")["paused"]
    finally:
        second.process.send_signal(signal.SIGINT)
    assert second.process.wait(60) == 0
    assert "is left to the platform that started it" in second.output
    assert deployment_of(platform, "monitor", "second")["paused"]
    assert not deployment_of(platform, "monitor")["paused"]
    assert platform.process.poll() is None


def test_a_shop_that_is_served_is_not_served_twice(platform):
    port = platform.settings.platform.prefect_port
    again = RunningPlatform(platform.settings.work_dir, **{"platform.prefect_port": port})
    assert again.process.wait(60) == 1
    assert re.search(r"^sommelier: Cannot serve the shop: shop=small, which process \d+ serves", again.output)


def test_ctrl_c_stops_everything(platform):
    """Ends the platform that the tests above share: what follows starts its own in the same work folder."""
    family = platform.family()
    assert len(family) >= 5
    platform.process.send_signal(signal.SIGINT)
    assert platform.process.wait(60) == 0
    assert "nothing is left running" in platform.output
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
@pytest.mark.parametrize(("shop", "users"), [("second", 110), ("small", 140)])
def test_a_later_run_in_the_same_work_folder_does_what_it_was_told(platform, shop, users):
    platform.stop()
    told = {**SECOND, "shop": shop, "recipe.source.n_users": users, "recipe.gate.tolerance": 1.0}
    later = RunningPlatform(platform.settings.work_dir, "--once", **told)
    assert later.process.wait(400) == 0, later.output
    assert f"shop {shop}, source simulated" in later.output
    assert recipe_in_service(later)["source"]["n_users"] == users
