"""Spans of requests, by the exporter of OpenTelemetry's SDK that keeps them in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from bentoml._internal.utils.telemetry import ParentBasedTraceIdRatio
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from core.logs.traces import current_trace, note
from core.settings.platform import TracingSettings
from core.stages import Timed
from serving.http import tracing
from serving.http.request_ids import RequestIds
from serving.http.tracing import TraceRequests, export_options

ENDPOINTS = frozenset({"/v1/recommend", "/v1/users/{user_id}"})
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
COLLECTOR = "http://127.0.0.1:4318/v1/traces"
# As they end: features, then rerank with rank and that with retrieve within, then log.
PASSED = [
    Timed("features", 0, 10, 10),
    Timed("retrieve", 30, 40, 10),
    Timed("rank", 20, 50, 20),
    Timed("rerank", 15, 60, 15),
    Timed("log", 60, 61, 1),
]
Spans = Callable[[], Sequence[ReadableSpan]]


class Made(SpanProcessor):
    """Which spans were begun, sent or not."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.names.append(span.name)


MADE = Made()


def client_of(answer: Callable[[], Response], sampler: Sampler = ALWAYS_ON) -> tuple[TestClient, Spans]:
    async def endpoint(_: Request) -> Response:
        return answer()

    kept, provider = InMemorySpanExporter(), TracerProvider(sampler)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.add_span_processor(MADE)
    app = Starlette(routes=[Route("/{any:path}", endpoint, methods=["POST", "GET"])])
    traced = TraceRequests(app, ENDPOINTS, lambda: provider.get_tracer("test"))
    return TestClient(RequestIds(traced), raise_server_exceptions=False), kept.get_finished_spans


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_request_is_a_span_with_its_endpoint_its_id_and_what_was_noted() -> None:
    def answer() -> Response:
        note(model="tiny:v1", variant="champion")
        return JSONResponse({})

    client, spans = client_of(answer)
    client.post("/v1/recommend", headers={"x-request-id": "mine"})
    (span,) = spans()
    assert (span.name, span.kind.name, span.parent) == ("POST /v1/recommend", "SERVER", None)
    assert span.status.status_code.name == "UNSET"
    assert attributes_of(span) == {
        "http.request.method": "POST",
        "http.route": "/v1/recommend",
        "http.response.status_code": 200,
        "sommelier.request_id": "mine",
        "sommelier.model": "tiny:v1",
        "sommelier.variant": "champion",
    }


def test_neither_ids_nor_queries_stand_in_a_span() -> None:
    client, spans = client_of(lambda: JSONResponse({}))
    client.get("/v1/users/jane.doe?text=secret")
    client.get("/made-up/jane.doe?text=secret")
    assert [span.name for span in spans()] == ["GET /v1/users/{user_id}", "GET other"]
    assert not [span for span in spans() if "jane" in span.to_json() or "secret" in span.to_json()]


def test_it_is_part_of_its_callers_trace() -> None:
    client, spans = client_of(lambda: JSONResponse({}))
    client.post("/v1/recommend", headers={"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"})
    client.post("/v1/recommend", headers={"traceparent": "made up"})
    first, second = spans()
    assert first.parent is not None
    assert (first.context.trace_id, first.parent.span_id) == (int(CALLER, 16), 0x00F067AA0BA902B7)
    assert second.parent is None


def pass_stages() -> Response:
    trace = current_trace()
    assert trace is not None
    trace.passed(PASSED, 2)
    return JSONResponse({})


def test_stages_are_spans_within_each_other() -> None:
    client, spans = client_of(pass_stages)
    client.post("/v1/recommend")
    found = {span.name: span for span in spans()}
    names = {span.context.span_id: span.name for span in spans()}
    request = found["POST /v1/recommend"]
    around = {name: names[span.parent.span_id] for name, span in found.items() if span.parent is not None}
    assert around == {
        "features": request.name,
        "retrieve": "rank",
        "rank": "rerank",
        "rerank": request.name,
        "log": request.name,
    }
    assert {span.context.trace_id for span in spans()} == {request.context.trace_id}
    for one in PASSED:
        span = found[one.stage]
        assert (span.end_time or 0) - (span.start_time or 0) == one.ended_ns - one.began_ns
        assert attributes_of(span) == {"sommelier.stage.own_ms": one.own_ns / 1e6}
    assert attributes_of(request)["sommelier.together"] == 2


def test_stages_that_were_noted_later_than_they_ended_stand_where_they_belong() -> None:
    def pass_two() -> Response:
        own = [Timed("features", 10, 20, 10), Timed("log", 50, 60, 10)]  # noted first, though it ended last
        other = [Timed("rank", 32, 38, 6), Timed("rerank", 30, 40, 4)]
        trace = current_trace()
        assert trace is not None
        trace.passed(own, 1)
        trace.passed(other, 1)
        return JSONResponse({})

    client, spans = client_of(pass_two)
    client.post("/v1/recommend")
    names = {span.context.span_id: span.name for span in spans()}
    around = {span.name: names[span.parent.span_id] for span in spans() if span.parent is not None}
    request = "POST /v1/recommend"
    assert around == {"features": request, "log": request, "rank": "rerank", "rerank": request}


@pytest.mark.parametrize(("rate", "n_made", "n_sent"), [(0.0, 1, 0), (1.0, 6, 6)])
def test_a_request_that_is_not_sampled_makes_no_spans_of_stages(rate: float, n_made: int, n_sent: int) -> None:
    """Nor one whose caller does not want its trace; with BentoML's own sampler, by which all spans record."""
    MADE.names.clear()
    client, spans = client_of(pass_stages, ParentBasedTraceIdRatio(rate))
    client.post("/v1/recommend")
    assert (len(MADE.names), len(spans())) == (n_made, n_sent)
    client.post("/v1/recommend", headers={"traceparent": f"00-{CALLER}-00f067aa0ba902b7-00"})
    assert (len(MADE.names), len(spans())) == (n_made + 1, n_sent)


def test_stages_stand_within_their_request_whenever_the_clocks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the process is put aside between looks at two clocks, or the time of day is set back meanwhile."""
    wall_ns, looks = time.time_ns(), 0

    def late() -> int:
        time.sleep(0.02)
        return time.perf_counter_ns()

    def set_back() -> int:
        nonlocal looks
        looks += 1
        return wall_ns - looks * 10**9

    clocks = SimpleNamespace(perf_counter_ns=late, time_ns=set_back)
    monkeypatch.setattr(tracing, "time", clocks)

    def answer() -> Response:
        began = time.perf_counter_ns()
        trace = current_trace()
        assert trace is not None
        trace.passed([Timed("features", began, time.perf_counter_ns(), 1)], 1)
        return JSONResponse({})

    client, spans = client_of(answer)
    client.post("/v1/recommend")
    stage, request = spans()
    times = [request.start_time, stage.start_time, stage.end_time, request.end_time]
    assert times == sorted(times, key=lambda one: one or 0)
    assert (request.end_time or 0) - (request.start_time or 0) < 10**9


@pytest.mark.parametrize(("status", "said"), [(200, "UNSET"), (404, "UNSET"), (503, "ERROR")])
def test_an_error_of_ours_is_one_of_the_span(status: int, said: str) -> None:
    client, spans = client_of(lambda: JSONResponse({"error": "no user jane"}, status_code=status))
    client.post("/v1/recommend")
    (span,) = spans()
    assert (span.status.status_code.name, span.status.description) == (said, None)
    assert attributes_of(span).get("error.type") == ("503" if said == "ERROR" else None)


def test_what_breaks_is_an_error_too() -> None:
    def answer() -> Response:
        raise ValueError("jane")

    client, spans = client_of(answer)
    assert client.post("/v1/recommend").status_code == 500
    (span,) = spans()
    assert (span.status.status_code.name, attributes_of(span)["http.response.status_code"]) == ("ERROR", 500)
    assert "jane" not in span.to_json()


def test_probes_and_scrapes_are_not_traced() -> None:
    client, spans = client_of(lambda: JSONResponse({}))
    for path in ("/livez", "/readyz", "/metrics"):
        client.get(path)
    assert spans() == ()


def test_bentoml_makes_no_spans_of_its_own_and_sends_ours_where_it_is_told() -> None:
    assert export_options(TracingSettings()) == {"excluded_urls": ".*"}
    assert export_options(TracingSettings(endpoint=COLLECTOR, share=0.5)) == {
        "excluded_urls": ".*",
        "exporter_type": "otlp",
        "sample_rate": 0.5,
        "otlp": {"protocol": "http", "endpoint": COLLECTOR},
    }


@pytest.mark.parametrize("endpoint", ["collector:4318", "https://me:secret@collector/v1/traces", "grpc://collector"])
def test_an_address_that_is_none_or_has_a_password_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        TracingSettings(endpoint=endpoint)


# In a process of its own: some variables are read by imports. What BentoML makes for its app, and ours, follows.
MAKE_THE_APP = f"""
import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from core.settings.platform import TracingSettings
from serving.http.tracing import TraceRequests, export_options, flush_spans, settle_tracer

settings = TracingSettings(endpoint={COLLECTOR!r})
bentoml.service(tracing=export_options(settings))(type("Made", (), {{}})).inject_config()
settle_tracer()
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
OpenTelemetryMiddleware(None, excluded_urls=".*", tracer_provider=BentoMLContainer.tracer_provider.get())
span = TraceRequests(None, frozenset())._tracer.start_span("a request")
print(span.is_recording())
span.end()
flush_spans(settings)
"""


@pytest.mark.parametrize(
    ("name", "value", "is_fine"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", False),  # read by an import
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many", False),  # by the provider
        ("OTEL_BSP_SCHEDULE_DELAY", "0", False),  # by what sends spans
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", "*", False),  # by BentoML's middleware
        ("OTEL_PROPAGATORS", "b3", False),  # by another import, which lacks the package of that name
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "7", True),
    ],
)
def test_the_app_is_made_whatever_variables_opentelemetry_finds(name: str, value: str, is_fine: bool) -> None:
    environment = {key: text for key, text in os.environ.items() if not key.startswith("OTEL_")} | {name: value}
    made = subprocess.run(
        [sys.executable, "-c", MAKE_THE_APP], env=environment, capture_output=True, text=True, check=False
    )
    assert (made.stdout.strip(), made.returncode) == (str(is_fine), 0), made.stderr
    warned = f"Requests are not traced: OpenTelemetry refuses its variables ({name})"
    assert (warned in made.stderr) is not is_fine
