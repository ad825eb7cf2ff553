"""`sommelier status`: with everything down, with a shop served, and with a service of this shop or another."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from core.layout import Layout
from core.quarantine.requests import request_readmission
from core.removals import request_removal
from core.settings.loading import load_settings
from core.storage import write_json
from flows.erasure.receipts import Learned, Receipt, save
from flows.last_validation import keep_validation
from flows.platform.served_shops import serving
from flows.platform.status import describe_status, read_status
from flows.promotion.bundles import promote_by_hand
from flows.reporting.outcome import Outcome, keep_outcome, outcome_file
from tests.unit.flows.platform.test_parts import free_port
from tests.unit.flows.promotion.written_bundle import write_bundle
from validation.summary import TableSummary, ValidationSummary

PARTS = ("prefect", "service", "monitoring", "reports")
OUTCOME = Outcome(
    flow_run_id="run-1",
    in_service="m:1",
    promoted=True,
    reason="ndcg_at_10 0.2 is not below 0.1",
    metrics={},
    steps=[],
    drifted=True,
    example_user="",
    example_item="",
)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    ports = [f"platform.{part}_port={free_port()}" for part in PARTS]
    return load_settings(overrides=[f"work_dir={tmp_path}", "shop=status-corner", *ports])


@pytest.fixture
def told():
    """A server that answers every GET with what `body` says."""

    class Told(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Told)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_with_everything_down_nothing_is_up_and_nothing_is_in_service(settings):
    status = read_status(settings)
    assert {part.part: part.state for part in status.parts} == dict.fromkeys(PARTS, "down")
    assert status.parts[1].address == f"http://127.0.0.1:{settings.platform.service_port}"
    assert (status.shops, status.in_service, status.last_outcome, status.last_validation) == ((), None, None, None)
    assert describe_status(status) == [
        "in service: nothing",
        "last pipeline: none that ended",
        "last validation: none",
    ]


def test_what_a_shop_left_behind_is_told(settings):
    layout = Layout(settings.work_dir, settings.shop)
    version = promote_by_hand(layout, write_bundle(layout.bundle("aaaa1111"), "aaaa1111", shop=layout.shop), "")
    keep_outcome(layout.root, OUTCOME)
    tables = {"interactions": TableSummary(rows_in=12, rows_clean=10, rows_quarantined=2, duplicates=0)}
    found = ValidationSummary(folder=layout.clean("k"), docs=layout.reports, gx_success=True, tables=tables)
    keep_validation(layout, found)
    with serving(layout.root, "r1"), serving(Layout(settings.work_dir, "other").root, "r2"):
        status = read_status(settings)
    assert [(shop.shop, shop.served, shop.process) for shop in status.shops] == [
        ("other", True, os.getpid()),
        ("status-corner", True, os.getpid()),
    ]
    in_service, pipeline, validation = describe_status(status)
    assert in_service.startswith(f"in service: {version.version}, blend, digest aaaa1111, since ")
    assert pipeline.endswith(", promoted, drift: ndcg_at_10 0.2 is not below 0.1")
    assert validation.endswith(", interactions 10 clean and 2 quarantined")
    assert [shop.served for shop in read_status(settings).shops] == [False, False]


def test_an_outcome_of_another_version_is_no_outcome(settings):
    root = Layout(settings.work_dir, settings.shop).root
    root.mkdir()
    outcome_file(root).write_text('{"promoted": true}')
    assert read_status(settings).last_outcome is None


@pytest.mark.parametrize(
    ("model", "state"),
    [
        ("sommelier-status-corner:v1", "up, sommelier-status-corner:v1"),
        ("sommelier-status:v1", "another shop's, sommelier-status:v1"),
        (None, "up, without a bundle"),
    ],
)
def test_whose_service_it_is_is_told(settings, told, model, state):
    told.body = json.dumps({"model": model}).encode()
    platform = settings.platform.model_copy(update={"service_port": told.server_port})
    assert read_status(settings.model_copy(update={"platform": platform})).parts[1].state == state


def test_other_servers_are_not_taken_for_parts(settings, told):
    told.body = json.dumps({"home": "/somewhere/else/prefect"}).encode()
    ports = {"prefect_port": told.server_port, "service_port": told.server_port}
    platform = settings.platform.model_copy(update=ports)
    states = [part.state for part in read_status(settings.model_copy(update={"platform": platform})).parts]
    assert states[:2] == ["another work folder's", "something else listens there"]


def test_what_waits_to_be_let_in_is_told(settings):
    layout = Layout(settings.work_dir, settings.shop)
    asked = request_readmission(layout.to_readmit, "items", None, "They are good.", "local")
    told = read_status(settings)
    assert told.readmissions == (asked,)
    assert f"quarantine: {asked.describe()}" in describe_status(told)


def test_what_waits_and_cannot_be_read_is_told_beside_all_else(settings):
    file = Layout(settings.work_dir, settings.shop).to_readmit
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{")
    told = read_status(settings)
    assert told.readmissions == ()
    (line,) = [line for line in describe_status(told) if line.startswith("quarantine: ")]
    assert line.startswith("quarantine: Cannot keep which rows are to be let in: ")
    assert str(file) in line


def test_who_is_not_forgotten_yet_is_told(settings):
    layout = Layout(settings.work_dir, settings.shop)
    bundle = Learned(place="model store", name="v1", digest="d", in_service=True, why="their rows are in its data")
    save(layout, Receipt(number=1, person="h1", at="2026-01-01", state="complete"))
    save(layout, Receipt(number=2, person="h2", at="2026-01-02", state="retraining", bundles=(bundle,)))
    save(layout, Receipt(number=3, person="h3", at="2026-01-03"))
    write_json(layout.forgotten, {"salt": "s", "receipts": 3})
    since = request_removal(layout.to_forget, layout.forgotten, "u1").at
    told = read_status(settings)
    assert [(one.receipt, one.state, one.bundles) for one in told.open_receipts] == [
        (4, "waiting", 0), (2, "retraining", 1), (3, "removing", 0),
    ]  # fmt: skip
    assert [line for line in describe_status(told) if line.startswith("forgetting")] == [
        f"forgetting, receipt 4: waiting since {since}, the next run of forget, pipeline, fine-tune "
        "or refresh-features removes them",
        "forgetting, receipt 2: retraining since 2026-01-02, 1 bundles to go: run the pipeline",
        "forgetting, receipt 3: removing since 2026-01-03, give the command again: sommelier forget USER",
    ]
