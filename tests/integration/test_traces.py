"""The service in its own process sends OpenTelemetry spans, or nothing where nobody asked for them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.integration.collector import attributes_of, collecting
from tests.integration.running_service import start_service
from tests.integration.serving_shop import TinyShop, copy_shop

pytestmark = pytest.mark.long

CALLER, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EXPORTER = "opentelemetry.exporter"
# Notes which of some modules each process imports, in files named by its id.
NOTES_IMPORTS = """
import os, sys

class Noting:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(({exporter!r}, "serving.service")):
            with open(os.path.join({folder!r}, str(os.getpid())), "a") as noted:
                noted.write(name + "\\n")

sys.meta_path.insert(0, Noting())
"""


def connections_of(process: psutil.Process) -> list[Any]:
    """Those of a process; none of one that ended meanwhile."""
    try:
        return list(process.net_connections())
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that gets what processes import."""
    (tmp_path / "noted").mkdir()
    code = NOTES_IMPORTS.format(folder=str(tmp_path / "noted"), exporter=EXPORTER)
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '.')}")
    return tmp_path / "noted"


def imports_the_exporter(imports: Path) -> bool:
    """Whether a process of the service did."""
    noted = [file.read_text().split() for file in imports.iterdir()]
    assert any("serving.service" in names for names in noted)
    return any(name.startswith(EXPORTER) for names in noted for name in names)


def test_a_request_is_a_trace_with_its_stages(shop: TinyShop, imports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=secret")
    # The collector goes before the service does: that costs no answer, and the log says it.
    with ExitStack() as until_gone, ExitStack() as until_stopped:
        collector = until_gone.enter_context(collecting())
        running = until_stopped.enter_context(start_service(shop, "traced", tracing={"endpoint": collector.url}))
        before = running.client.post("/v1/recommend", json={}, headers={"x-request-id": "too-early"})
        assert before.status_code == 503
        model = running.put_in_service(shop.whole)

        def ask(request_id: str, path: str, **body: Any) -> None:
            caller = {"traceparent": f"00-{CALLER}-{CALLERS_SPAN}-01"} if request_id == "called" else {}
            headers = {"x-request-id": request_id, **caller}
            answer = running.client.post(path, json=body, headers=headers)
            assert answer.status_code == (404 if request_id == "unknown" else 200), answer.text

        ask("called", "/v1/recommend", user_id="u07", k=3)
        ask("alone", "/v1/recommend", user_id="u07", k=3)
        ask("unknown", "/v1/score", user_id="u07", item_ids=["no-such-item"])
        ask("last", "/v1/popular", k=3)
        running.wait_for(lambda: collector.of_request("last") is not None)
        until_gone.close()
        running.recommend(user_id="u07")
        running.wait_for(lambda: "encountered while exporting spans" in running.log.read_text())
        running.recommend(user_id="u07")
    assert imports_the_exporter(imports)
    found = {one: collector.of_request(one) for one in ("too-early", "called", "alone", "unknown", "last")}

    called = found["called"]
    assert called is not None
    assert (called.name, called.kind) == ("POST /v1/recommend", Span.SPAN_KIND_SERVER)
    assert (called.trace_id.hex(), called.parent_span_id.hex()) == (CALLER, CALLERS_SPAN)
    assert attributes_of(called) == {
        "http.request.method": "POST",
        "http.route": "/v1/recommend",
        "http.response.status_code": 200,
        "sommelier.request_id": "called",
        "sommelier.model": model,
        "sommelier.variant": "champion",
        "sommelier.together": 1,
    }
    stages = collector.below(called)
    assert sorted(stages) == ["features", "log", "rank", "reasons", "rerank", "retrieve"]
    names = {span.span_id: span.name for span in (called, *stages.values())}
    around = {name: names[span.parent_span_id] for name, span in stages.items()}
    assert around["features"] == around["rerank"] == around["log"] == called.name
    for span in stages.values():
        assert called.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= called.end_time_unix_nano

    alone, early, unknown, last = (found[one] for one in ("alone", "too-early", "unknown", "last"))
    assert alone is not None
    assert early is not None
    assert unknown is not None
    assert last is not None
    assert (alone.parent_span_id, alone.trace_id.hex() == CALLER) == (b"", False)
    assert (early.status.code, attributes_of(early)["error.type"]) == (Status.STATUS_CODE_ERROR, "503")
    assert (unknown.status.code, attributes_of(unknown)["http.response.status_code"]) == (
        Status.STATUS_CODE_UNSET,
        404,
    )
    assert attributes_of(last)["sommelier.model"] == model
    assert collector.service == "Sommelier"
    assert collector.headers["x-collector-key"] == "secret"
    assert not [span for span in collector.spans if b"u07" in span.SerializeToString()]
    assert not [span for span in collector.spans if span.name.endswith(("/livez", "/readyz", "other"))]


def test_where_nobody_asked_nothing_is_sent_and_nothing_imported_that_could(
    shop: TinyShop, imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        # OpenTelemetry's own variable alone switches nothing on.
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with start_service(shop, "untraced") as running:
            running.put_in_service(shop.whole)
            running.recommend(user_id="u07")
            family = [psutil.Process(running.process.pid), *psutil.Process(running.process.pid).children(True)]
            reached = [one.raddr for process in family for one in connections_of(process) if one.raddr]
            port = int(collector.url.split(":")[2].partition("/")[0])
            assert not [one for one in reached if one.port == port]
        assert collector.spans == []
    assert not imports_the_exporter(imports)


def test_what_waits_is_sent_as_the_service_ends(shop: TinyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    with collecting() as collector:
        monkeypatch.setenv("SOMMELIER_PLATFORM__TRACING__ENDPOINT", collector.url)
        with start_service(shop, "ending") as running:
            answer = running.client.post("/v1/events", json={"events": []}, headers={"x-request-id": "waits"})
            assert (answer.status_code, collector.spans) == (400, [])
        span = collector.of_request("waits")
    assert span is not None
    assert (span.name, attributes_of(span)["http.response.status_code"]) == ("POST /v1/events", 400)


def test_a_variable_that_opentelemetry_refuses_costs_the_traces_and_not_the_service(
    shop: TinyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
    monkeypatch.setenv(variable, "abc")
    with collecting() as collector:
        with start_service(shop, "refused", tracing={"endpoint": collector.url}) as running:
            answer = running.client.post("/v1/events", json={"events": []})
            assert answer.status_code == 400
        assert collector.spans == []
    assert f"Requests are not traced: OpenTelemetry refuses its variables ({variable})" in running.log.read_text()
