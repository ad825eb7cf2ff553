"""What `up` does at its rim: what it refuses before anything starts, and what it shows once the pipeline has run."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from cli.main import main
from core.layout import Layout
from core.promotions import Version
from core.settings.loading import load_settings
from core.settings.source import RecboleSource
from flows.errors import PartFailed
from flows.platform import launch
from flows.platform.parts import Platform
from flows.platform.prefect_server import FollowedRun
from flows.platform.served_shops import serving
from flows.reporting.outcome import Outcome, keep_outcome
from tests.unit.flows.platform.test_parts import free_port

FIGURES = {f"{name}_at_10": 0.25 for name in ("recall", "ndcg", "mrr", "map", "precision", "hit_rate")}
METRICS = {"ranking": {"popularity": FIGURES}, "intervals": {"popularity": {"ndcg_at_10": (0.2, 0.3)}}}


@pytest.fixture
def service():
    """A service that answers every request with what it was asked, or 404 where its `status` says so."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.authorization = self.headers["Authorization"]
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(json.dumps({"asked": body}).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Echo)
    server.status = 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(tmp_path, service):
    return load_settings(overrides=[f"work_dir={tmp_path}", f"platform.service_port={service.server_port}"])


@pytest.fixture
def start_all(monkeypatch, tmp_path, settings):
    """Runs all that `up` does after the parts of Prefect are there, with a pipeline that leaves the given outcome."""

    def start(waits=False, resume=False, **told):
        outcome = {"flow_run_id": "run-1", "promoted": False, "reason": "why", "metrics": METRICS, "steps": []}
        outcome |= {"drifted": False, "in_service": None, "example_user": "", "example_item": "", **told}

        def run_deployment(*_):
            keep_outcome(Layout(tmp_path, settings.shop).root, Outcome(**outcome))
            return FollowedRun("run-1", "calm-owl", waits)

        waited = []
        monkeypatch.setattr("flows.platform.prefect_server.run_deployment", run_deployment)
        monkeypatch.setattr(launch, "start_flows", lambda *_: None)
        monkeypatch.setattr(launch, "wait_until_answers", lambda part, url, *_: waited.append(url.rpartition("/")[2]))
        monkeypatch.setattr(Platform, "start", lambda *_, **__: None)
        lines = []
        launch._start_all(settings, Platform({}, tmp_path), lines.append, threading.Event(), resume=resume)
        return lines, waited[0]

    return start


def test_where_nothing_is_in_service_everything_stays_up_and_says_why(start_all, settings):
    lines, waited = start_all(reason="the only bundle was withdrawn")
    shown = lines.index("in service: nothing (the only bundle was withdrawn)")
    assert lines[shown - 1].split()[:2] == ["popularity", "0.25"]
    assert waited == "livez"
    assert shown < next(n for n, line in enumerate(lines) if "starting the service" in line)
    assert any(f":{settings.platform.prefect_port}" in line for line in lines)
    assert not any("curl" in line for line in lines)
    assert lines[-1].endswith("Ctrl-C stops everything")


@pytest.mark.parametrize(("user", "asked"), [("u7", {"user_id": "u7", "k": 3}), ("", {"k": 3})])
def test_the_first_request_is_for_a_user_or_for_nobody(start_all, user, asked):
    lines, waited = start_all(in_service="sommelier-simulated:1", example_user=user)
    assert waited == "readyz"
    assert json.loads(lines[-2]) == {"asked": asked}


def test_while_the_pipeline_waits_for_approval_what_is_in_service_answers(start_all, monkeypatch):
    monkeypatch.setattr(launch, "version_in_service", lambda name: f"{name}:1")
    lines, waited = start_all(waits=True)
    assert waited == "readyz"
    assert any("sommelier approve calm-owl; what is in service stays until then" in line for line in lines)
    assert json.loads(lines[-2]) == {"asked": {"k": 3}}


def test_a_platform_that_resumes_learns_nothing_where_a_bundle_is_in_service(start_all, monkeypatch, tmp_path):
    def fourth(name):
        return Version(name=name, version="4", folder=tmp_path, labels={}, created_at="2026-01-01T00:00:00+00:00")

    monkeypatch.setattr(launch, "version_in_service", fourth)
    lines, waited = start_all(resume=True, in_service="sommelier-simulated:5")
    assert waited == "readyz"
    assert lines[1] == "going on with sommelier-simulated:4, without a run of the pipeline"
    assert not any("running the pipeline" in line for line in lines)
    assert json.loads(lines[-2]) == {"asked": {"k": 3}}


def test_a_platform_that_resumes_with_nothing_in_service_runs_the_pipeline(start_all, monkeypatch):
    monkeypatch.setattr(launch, "version_in_service", lambda name: None)
    lines, _ = start_all(resume=True, in_service="sommelier-simulated:1", example_user="u7")
    assert "running the pipeline ..." in lines
    assert json.loads(lines[-2]) == {"asked": {"user_id": "u7", "k": 3}}


def test_a_first_request_that_is_refused_is_one_sentence(start_all, service):
    service.status = 404
    with pytest.raises(PartFailed, match=r"does not answer its first request: error=.*404"):
        start_all(in_service="sommelier-simulated:1")


def test_where_a_key_is_needed_the_first_request_has_it_or_says_how_to_make_one(settings, service, monkeypatch):
    port = f"platform.service_port={service.server_port}"
    guarded = load_settings(overrides=[f"work_dir={settings.work_dir}", port, "serving.require_keys=always"])
    lines = []
    monkeypatch.delenv("SOMMELIER_API_KEY", raising=False)
    launch._show_first_answer(guarded, "u7", lines.append)
    assert lines == [
        "the service needs an API key: make one with sommelier keys create, and set SOMMELIER_API_KEY to it"
    ]
    monkeypatch.setenv("SOMMELIER_API_KEY", "som_1_2")
    launch._show_first_answer(guarded, "u7", lines.append)
    assert service.authorization == "Bearer som_1_2"
    assert '-H "Authorization: Bearer $SOMMELIER_API_KEY"' in lines[1]
    assert not any("som_1_2" in line for line in lines)


def test_a_service_without_keys_for_everybody_is_refused_before_anything_starts(capsys, tmp_path):
    chosen = ["platform.service_host=0.0.0.0", "serving.require_keys=never", *elsewhere(tmp_path)]
    assert main(["up", *(word for one in chosen for word in ("--set", one))]) == 1
    assert capsys.readouterr().err.startswith("sommelier: Cannot start the service: serving.require_keys=never on host")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["up", "--set", "platform.host=0.0.0.0"], "Cannot start prefect and monitoring: host=0.0.0.0, host=0.0.0.0"),
        (["up", "--set", "platform.monitoring_host=10.0.0.8"], "Cannot start monitoring: host=10.0.0.8"),
        (["tune", "--set", "platform.prefect_host=0.0.0.0"], "Cannot start prefect: host=0.0.0.0"),
    ],
)
def test_a_part_without_keys_is_not_opened_to_others_unless_something_guards_it(capsys, tmp_path, words, refused):
    assert main([*words, *(word for one in elsewhere(tmp_path) for word in ("--set", one))]) == 1
    assert capsys.readouterr().err.startswith(f"sommelier: {refused}, expected 127.0.0.1 of what has no API keys")
    assert not (tmp_path / "work").exists()


def elsewhere(tmp_path):
    """A work folder that is not there yet, and a port at which no Prefect server is."""
    return [f"work_dir={tmp_path / 'work'}", f"platform.prefect_port={free_port()}"]


def test_each_part_is_told_to_listen_where_its_own_setting_says(tmp_path, monkeypatch):
    hosts = {"prefect": "127.0.0.2", "service": "127.0.0.3", "monitoring": "127.0.0.4", "reports": "127.0.0.5"}
    chosen = [f"platform.{part}_host={host}" for part, host in hosts.items()]
    settings = load_settings(overrides=[f"work_dir={tmp_path}", *chosen])
    started = {}
    monkeypatch.setattr(Platform, "start", lambda _, name, command, **__: started.setdefault(name, command))
    monkeypatch.setattr(launch, "wait_until_answers", lambda *_: None)
    monkeypatch.setattr("flows.platform.prefect_server.clear_stale_runs", lambda _: 0)
    monkeypatch.setattr("flows.platform.prefect_server.pause_unserved", lambda _: None)
    monkeypatch.setattr("flows.platform.prefect_server.wait_for_deployments", lambda *_: None)
    monkeypatch.setattr("flows.platform.notifications.apply_notifications", lambda *_: [])
    platform = Platform({}, tmp_path)
    launch.start_flows(settings, platform, lambda _: None, threading.Event())
    launch._start_pages(settings, Layout(tmp_path, settings.shop), platform, threading.Event(), ready=True)
    told = {
        part: words[words.index(option) + 1]
        for part, words in started.items()
        for option in ("--host", "--bind")
        if option in words
    }
    assert told == hosts


def test_a_server_that_is_too_busy_to_be_told_keeps_no_platform_from_stopping(tmp_path, monkeypatch):
    def refuse(_):
        answer = httpx.Response(503, request=httpx.Request("PATCH", "http://127.0.0.1:4200/api/deployments/1"))
        raise PrefectHTTPStatusError.from_httpx_error(
            httpx.HTTPStatusError("503", request=answer.request, response=answer)
        )

    monkeypatch.setattr("flows.platform.prefect_server.clear_stale_runs", lambda _: 0)
    monkeypatch.setattr("flows.platform.prefect_server.pause_unserved", refuse)
    monkeypatch.setattr(launch, "listens", lambda _: True)
    lines = []
    settings = load_settings(overrides=[f"work_dir={tmp_path}", "shop=second"])
    with launch.running_parts(settings, lines.append, joins=True):
        pass
    assert lines[0] == "stopping ..."
    assert lines[1].startswith(
        "the Prefect server was not told that shop second is served no more; the next start does"
    )
    assert lines[2].endswith("is left to the platform that started it")


def test_parts_that_others_reach_without_a_key_are_named(tmp_path):
    lines = []
    launch._show_places(load_settings(overrides=["platform.host=0.0.0.0", "platform.prefect_host=::1"]), lines.append)
    warned = [line.split()[1] for line in lines if line.startswith("warning: ")]
    assert warned == ["monitoring"]


def test_a_source_that_is_not_there_is_told_before_anything_starts(capsys, tmp_path):
    work_dir = tmp_path / "work"
    data = ["--source", "tables", "--data", str(tmp_path / "nothing here")]
    assert main(["up", *data, "--set", f"work_dir={work_dir}"]) == 1
    told = capsys.readouterr()
    assert "nothing here" in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert not work_dir.exists()


def test_a_shop_that_is_served_is_refused_before_anything_starts(capsys, tmp_path):
    ports = ["--set", f"platform.prefect_port={free_port()}"]
    with serving(Layout(tmp_path, "simulated").root, "r1"):
        assert main(["up", "--set", f"work_dir={tmp_path}", *ports]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("sommelier: Cannot serve the shop: shop=simulated")
    assert told.out == ""


def test_a_lost_server_of_another_platform_is_told(tmp_path):
    platform = Platform({}, tmp_path, joined=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PartFailed, match="lost its Prefect server"):
        launch.check_parts(platform, threading.Event())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_stops_every_part_though_nobody_can_be_told(tmp_path, settings, monkeypatch, number):
    def closed_terminal(line):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(launch, "enter_environment", lambda _: {"PATH": "/usr/bin:/bin"})
    before = signal.signal(number, signal.default_int_handler)  # tests started by nohup inherit an ignored SIGHUP
    try:
        with launch.running_parts(settings, closed_terminal) as (platform, asked):
            part = platform.start("slow", ["-c", "import time; time.sleep(60)"])
            os.kill(os.getpid(), number)
            assert asked.wait(5)
            launch.check_parts(platform, asked)
    finally:
        signal.signal(number, before)
    assert not part.is_running


def test_a_page_that_does_not_start_does_not_keep_the_platform_from_serving(tmp_path, monkeypatch):
    told = []
    platform = Platform({"PATH": "/usr/bin:/bin"}, tmp_path, show=told.append)
    try:
        part = platform.start("reports", ["-c", "raise SystemExit('no pages')"], essential=False)
        launch._wait_for_page(platform, part, f"http://127.0.0.1:{free_port()}/", threading.Event())
        launch.check_parts(platform, threading.Event())
    finally:
        platform.stop()
    assert "no pages" in told[0]


def test_a_shop_that_is_served_with_other_data_than_before_is_told_so(tmp_path, settings, monkeypatch):
    for name in ("clear_stale_runs", "pause_unserved", "wait_for_deployments"):
        monkeypatch.setattr(f"flows.platform.prefect_server.{name}", lambda *_: 0)
    monkeypatch.setattr("flows.platform.notifications.apply_notifications", lambda *_: [])
    platform = Platform({}, tmp_path / "logs", joined="http://127.0.0.1:1")
    monkeypatch.setattr(platform, "start", lambda *_: None)
    lines = []
    first = settings.model_copy(update={"work_dir": tmp_path})
    recipe = first.recipe.model_copy(update={"source": RecboleSource(path=tmp_path)})
    for one in (first, first, first.model_copy(update={"recipe": recipe})):
        launch.start_flows(one, platform, lines.append, threading.Event())
    [warning] = [line for line in lines if "warning" in line]
    assert f"had its data from simulated and has them from recbole {tmp_path} now" in warning
