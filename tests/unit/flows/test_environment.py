"""The parts of the platform talk to each other past whatever proxy the environment names."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import httpx
import pytest

from core.settings.loading import load_settings
from core.settings.platform import LogSettings
from flows.environment import child_environment, enter_environment

PROXIES = [name for word in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (word, word.upper())]
OWN = ["10.0.0.7", "127.0.0.1", "localhost"]


@pytest.fixture
def settings(monkeypatch, tmp_path):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    return load_settings(overrides=[f"work_dir={tmp_path}", "platform.host=10.0.0.7"])


def without_proxy(environment):
    assert environment["NO_PROXY"] == environment["no_proxy"]
    return environment["NO_PROXY"].split(",")


def test_the_own_host_needs_no_proxy(settings):
    assert without_proxy(child_environment(settings)) == OWN


def test_hosts_that_need_no_proxy_already_are_kept(settings, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intranet, localhost")
    monkeypatch.setenv("no_proxy", "build.example")
    named = without_proxy(child_environment(settings))
    assert named == ["intranet", "localhost", "build.example", "10.0.0.7", "127.0.0.1"]


def test_no_proxy_for_anybody_stays_so(settings, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    assert without_proxy(child_environment(settings)) == ["*"]


def test_prefect_reads_how_long_it_keeps_what_runs_left(settings, monkeypatch):
    from prefect.settings import Settings

    monkeypatch.setattr(os, "environ", child_environment(settings))
    server = Settings().server
    assert server.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert server.services.db_vacuum.retention_period == timedelta(days=settings.platform.history_days)
    assert server.events.retention_period == timedelta(days=7)
    shorter = settings.model_copy(update={"platform": settings.platform.model_copy(update={"history_days": 2})})
    monkeypatch.setattr(os, "environ", child_environment(shorter))
    assert Settings().server.services.db_vacuum.retention_period == timedelta(days=2)
    assert Settings().server.events.retention_period == timedelta(days=2)


def test_the_service_is_told_where_browsers_find_the_parts_that_are_started(settings):
    told = load_settings(variables=child_environment(settings)).platform
    assert [told.page_of(part) for part in ("prefect", "monitoring", "reports")] == [
        "http://10.0.0.7:4200",
        "http://10.0.0.7:8000",
        "http://10.0.0.7:8010",
    ]
    behind = settings.platform.model_copy(update={"reports_page": "https://shop.example/reports"})
    told = load_settings(variables=child_environment(settings.model_copy(update={"platform": behind}))).platform
    assert (told.page_of("prefect"), told.page_of("reports")) == (
        "http://10.0.0.7:4200",
        "https://shop.example/reports",
    )


def test_proxies_stay_but_those_beside_which_no_client_can_be_made(settings, monkeypatch):
    given = {"HTTP_PROXY": "http://127.0.0.1:9", "https_proxy": "127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environment = child_environment(settings)
    assert {name: environment.get(name) for name in given} == {**given, "ALL_PROXY": None}


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_a_client_of_this_process_goes_to_the_own_host_directly(settings, monkeypatch, name, proxy):
    monkeypatch.setattr(os, "environ", {**os.environ, name: proxy})
    enter_environment(settings)
    with httpx.Client() as client:
        mounted = client._transport_for_url(httpx.URL("http://10.0.0.7:4200/api/health"))
        assert mounted is client._transport
    assert os.environ["SOMMELIER_PLATFORM__HOST"] == "10.0.0.7"


def test_prefect_runs_also_where_a_format_of_traces_is_named_that_is_not_installed(settings, monkeypatch):
    monkeypatch.setenv("OTEL_PROPAGATORS", "b3")
    started = subprocess.run(
        [sys.executable, "-c", "from prefect import flow"],
        env=child_environment(settings),
        capture_output=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr.decode()


def test_flows_log_as_the_settings_say(settings):
    assert not [name for name in child_environment(settings) if name.startswith("PREFECT_LOGGING")]
    chosen = settings.model_copy(update={"logs": LogSettings(format="json")})
    environment = {**child_environment(chosen), "PREFECT__FLOW_RUN_ID": "run-7"}
    code = (
        "import logging; from prefect import flow; from flows.environment import current_settings; "
        "assert current_settings().logs.format == 'json'; "
        "logging.getLogger('flows.pruning').warning('[old] results go'); "
        "logging.getLogger('flows.tune').error('x' * 500, extra={'flow_run_id': 'run-8'})"
    )
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in told.stderr.splitlines()]
    assert [(line["logger"], line["flow_run_id"]) for line in lines] == [
        ("flows.pruning", "run-7"),
        ("flows.tune", "run-8"),
    ]
    assert (lines[0]["message"], lines[1]["message"]) == ("[old] results go", "x" * 500)


def test_only_the_own_ui_may_ask_the_prefect_server_from_a_browser(settings):
    environment = child_environment(settings)
    allowed = environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert allowed == [f"http://{host}:4200" for host in OWN]
    code = "from prefect.settings import PREFECT_SERVER_CORS_ALLOWED_ORIGINS as origins; print(origins.value())"
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip().split(",") == allowed


def test_parts_listen_where_each_is_told_to(tmp_path):
    where = load_settings(overrides=["platform.service_host=0.0.0.0", "platform.reports_host=10.0.0.8"]).platform
    assert (where.host_of("service"), where.url_of("service")) == ("0.0.0.0", "http://127.0.0.1:3000")
    assert (where.host_of("prefect"), where.url_of("reports")) == ("127.0.0.1", "http://10.0.0.8:8010")
    environment = child_environment(load_settings(overrides=[f"work_dir={tmp_path}", "platform.prefect_host=::1"]))
    assert environment["PREFECT_SERVER_API_HOST"] == "::1"
    assert environment["PREFECT_API_URL"] == "http://[::1]:4200/api"
    assert load_settings(variables=environment).platform.prefect_host == "::1"


def test_lists_and_groups_of_the_service_reach_its_process(tmp_path):
    chosen = ['serving.cors_origins=["https://shop.example"]', "serving.rates.read.per_s=5", f"work_dir={tmp_path}"]
    settings = load_settings(overrides=chosen)
    environment = {name: value for name, value in child_environment(settings).items() if name.startswith("SOMMELIER_")}
    assert load_settings(variables=environment).serving == settings.serving


def test_a_shop_named_by_digits_reaches_the_processes(tmp_path):
    environment = child_environment(load_settings(overrides=[f"work_dir={tmp_path}", "shop=2024"]))
    environment = {name: value for name, value in environment.items() if name.startswith("SOMMELIER_")}
    assert load_settings(variables=environment).shop == "2024"
