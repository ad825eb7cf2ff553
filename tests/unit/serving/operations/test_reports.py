"""The reports' pages: who reads them, and what stands there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from core.errors import SettingsError
from core.keys import create_key
from core.layout import Layout
from core.logs.audit import read_acts
from core.settings.loading import load_settings
from core.settings.tree import Settings
from flows.reporting.reports import DATA_DOCS, DRIFT, EVALUATIONS
from serving.operations.reports import reports_app, settle_address
from tests.integration.running_service import free_port, stop

OUTSIDE, LOOPBACK = "http://10.0.0.7:8010", "http://127.0.0.1:8010"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(overrides=[f"work_dir={tmp_path}", "shop=corner"])


@pytest.fixture
def layout(settings: Settings) -> Layout:
    """With a page of a run and the first page, and a file beside the reports that is none of them."""
    layout = Layout(settings.work_dir, settings.shop)
    for page, text in (
        (DATA_DOCS, "<p>the docs"),
        (DATA_DOCS.parent / "static" / "styles" / "docs.css", "p {}"),
        (DRIFT / "d1.html", "<p>the drift"),
        (EVALUATIONS / "b1.html", "<p>the evaluation"),
    ):
        file = layout.reports / "k1" / page
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (layout.reports / "index.html").write_text("<p>all reports")
    (layout.root / "secret.txt").write_text("not a report")
    return layout


def pages(settings: Settings, base_url: str = LOOPBACK, client: str = "127.0.0.1") -> TestClient:
    return TestClient(reports_app(settings), base_url=base_url, client=(client, 50_000))


def beyond(settings: Settings) -> Settings:
    platform = settings.platform.model_copy(update={"reports_host": "0.0.0.0"})
    return settings.model_copy(update={"platform": platform})


def test_this_machine_reads_them_without_a_key(settings: Settings, layout: Layout) -> None:
    client = pages(settings)
    assert client.get("/").text == "<p>all reports"
    found = client.get("/k1/data-docs/index.html")
    assert (found.text, found.headers["x-content-type-options"]) == ("<p>the docs", "nosniff")
    assert found.headers["content-security-policy"] == "frame-ancestors 'self'"  # they run scripts of their own
    assert client.get("/k1/data-docs").text == "<p>the docs"
    assert client.get("/k1/nothing.html").status_code == 404
    assert client.get("/k1/").status_code == 404  # no list of files


def test_beyond_this_machine_every_page_needs_a_key_that_may_read(settings: Settings, layout: Layout) -> None:
    client = pages(beyond(settings), OUTSIDE, "10.0.0.9")
    for path in ("/", "/k1/data-docs/index.html", "/nothing", "/docs.json", "/static_content/x"):
        refused = client.get(path)
        assert refused.status_code == 401, path
        assert refused.headers["www-authenticate"].startswith("Basic ")  # a browser then asks for it
    assert client.get("/livez").status_code == 200
    read, events = (create_key(layout.api_keys, "n", [scope]).text.get_secret_value() for scope in ("read", "events"))
    assert client.get("/", auth=("anybody", read)).text == "<p>all reports"
    assert client.get("/k1/drift/d1.html", auth=("anybody", read)).text == "<p>the drift"
    found = client.get("/k1/evaluation/b1.html", headers={"Authorization": f"Bearer {read}"})
    assert found.text == "<p>the evaluation"
    assert client.get("/", auth=("anybody", events)).status_code == 403
    assert client.post("/", headers={"Authorization": f"Bearer {read}"}).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/k1/data-docs/index.html",
        "/k1/data-docs",
        "/k1/data-docs/",
        "/k1//data-docs/index.html",
        "/k1/drift/..%2fdata-docs/index.html",
        "/k1/%64ata-docs/index.html",
        "/index.html/..%2fk1/data-docs/index.html",
        "/drift/..%2fk1/data-docs/index.html",
    ],
)
def test_what_names_users_needs_a_key_for_everything_and_who_looked_is_on_record(
    settings: Settings, layout: Layout, path: str
) -> None:
    client = pages(beyond(settings), OUTSIDE, "10.0.0.9")
    read, admin = (create_key(layout.api_keys, "n", [scope]) for scope in ("read", "admin"))
    refused = client.get(path, auth=("anybody", read.text.get_secret_value()))
    assert (refused.status_code, "lacks the scope admin" in refused.text) == (403, True)
    assert not layout.audit_reads.exists()
    assert client.get(path, auth=("anybody", admin.text.get_secret_value())).text == "<p>the docs"
    acts = read_acts(layout.audit_reads)
    assert {(act.who, act.outcome) for act in acts} >= {(f"key:{admin.key.id}", "status 200")}
    assert all("data-docs" in act.what for act in acts)
    assert not layout.audit.exists()


def test_only_looks_at_what_names_users_are_on_record(settings: Settings, layout: Layout) -> None:
    client = pages(settings)
    client.post("/k1/data-docs/index.html")
    for path in ("/", "/k1/drift/d1.html", "/k1/evaluation/b1.html", "/k1/data-docs/static/styles/docs.css", "/x.ico"):
        client.get(path)
    assert not layout.audit_reads.exists()
    client.get("/k1/data-docs/gone.html")
    client.head("/k1/Data-Docs/index.html")
    found = [(act.who, act.what, act.outcome) for act in read_acts(layout.audit_reads)]
    assert ("local", "GET /k1/data-docs/gone.html", "status 404") in found
    assert "HEAD /k1/Data-Docs/index.html" in {what for _, what, _ in found}


def test_a_look_that_cannot_be_recorded_shows_nothing(settings: Settings, layout: Layout) -> None:
    layout.audit_reads.mkdir()
    answer = pages(settings).get("/k1/data-docs/index.html")
    assert (answer.status_code, "the docs" in answer.text) == (503, False)


def test_who_comes_from_outside_to_what_listens_here_needs_a_key(settings: Settings, layout: Layout) -> None:
    assert pages(settings, "http://shop.example").get("/").status_code == 401  # by a proxy, or a name turned to here
    assert pages(settings, client="10.0.0.9").get("/").status_code == 401


def test_nothing_beside_the_reports_is_read(settings: Settings, layout: Layout) -> None:
    (layout.reports / "link.txt").symlink_to(layout.root / "secret.txt")
    client = pages(settings)
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/k1/..%2f..%2fsecret.txt", "/link.txt"):
        assert client.get(path).status_code == 404, path


def test_before_the_first_run_it_says_so(settings: Settings) -> None:
    answer = pages(settings).get("/")
    assert (answer.status_code, "no reports yet" in answer.text) == (200, True)


def test_options_say_where_it_listens(tmp_path: Path) -> None:
    given = {"SOMMELIER_WORK_DIR": str(tmp_path), "SOMMELIER_PLATFORM__REPORTS_PORT": "9000"}
    settled = settle_address(["--host", "::", "--port=8011"], given)
    assert (settled.platform.host_of("reports"), settled.platform.reports_port) == ("::", 8011)
    assert settled.needs_keys_at("reports")
    assert settle_address([], given).platform.reports_port == 9000
    with pytest.raises(SettingsError, match="reports_port=70000"):
        settle_address(["--port", "70000"], given)


def first_answer(process: subprocess.Popen[bytes], url: str) -> httpx.Response:
    """What a process answers as soon as it listens."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None
        try:
            return httpx.get(url, timeout=60, trust_env=False)
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("it did not listen")


def test_its_process_answers_and_is_refused_where_everybody_could_read(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "serving.operations.reports", "--port", str(port)]
    given = {"SOMMELIER_WORK_DIR": str(tmp_path), "SOMMELIER_SERVING__REQUIRE_KEYS": "never", "PYTHONPATH": "."}
    refused = subprocess.run([*command, "--host", "0.0.0.0"], env=given, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Cannot start the reports: serving.require_keys=never on host 0.0.0.0")
    process = subprocess.Popen(command, env={**given, "SOMMELIER_LOGS__FORMAT": "json"}, start_new_session=True)
    try:
        answer = first_answer(process, f"http://127.0.0.1:{port}/")
    finally:
        left = stop(process)
    assert (answer.status_code, "no reports yet" in answer.text, left) == (200, True, [])
