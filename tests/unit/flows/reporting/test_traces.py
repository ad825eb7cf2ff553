"""Runs of flows and their steps are spans where an endpoint is named, and nothing is imported where none is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prefect import flow
from prefect.exceptions import Pause
from prefect.testing.utilities import prefect_test_harness

from core.settings.loading import load_settings
from core.settings.platform import TracingSettings
from core.settings.tree import Recipe
from flows.environment import child_environment
from flows.params import PipelineParams
from flows.platform.deployments import read_topology
from flows.reporting import traces
from flows.reporting.traces import traced
from flows.steps import step as steps
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, action, step
from tests.integration.collector import Collector, attributes_of, collecting

SECRET = "the address of ann@example.com"
REFUSED = [("OTEL_BSP_MAX_QUEUE_SIZE", "-1"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")]


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the settings of this process name; spans wait until a run ends."""
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path))
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "results"))
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setitem(steps._RETRIES, "retry_delay_seconds", 0)
    with collecting() as collector:
        monkeypatch.setenv("SOMMELIER_PLATFORM__TRACING__ENDPOINT", collector.url)
        yield collector


def run_traced(body: Callable[[Run], None]) -> str:
    """The id of a run of a flow that does something in the shop `corner`."""
    ids: list[str] = []

    @flow(name="small-work", log_prints=False)
    @traced
    def small_work(params: PipelineParams) -> None:
        from prefect.runtime import flow_run

        ids.append(str(flow_run.id))
        body(Run.of(params))

    try:
        small_work(PipelineParams(shop="corner", recipe=Recipe()))
    finally:
        assert len(ids) == 1
    return ids[0]


def spans_of(collector: Collector, run_id: str) -> dict[str, Span]:
    found = [one for one in collector.spans if one.trace_id == UUID(run_id).bytes]
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


@step("write", at=lambda layout, key, inputs: layout.root / key, reads=("seed",))
def write(step: StepContext, text: str) -> int:
    step.target.parent.mkdir(parents=True, exist_ok=True)
    step.target.write_text(text)
    return len(text)


@action("look")
def look(step: StepContext, written: Output[int]) -> str:
    return written.folder.read_text()


@step("fail", reads=("seed",))
def fail(step: StepContext) -> None:
    raise ConnectionError(SECRET)


def test_a_run_is_a_trace_of_its_steps_which_says_what_was_kept(server: None, collector: Collector) -> None:
    def work(run: Run) -> None:
        look(run, write(run, "one"))

    first, second = (spans_of(collector, run_traced(work)) for _ in range(2))
    assert collector.service == "sommelier-flows"
    for spans, is_cached in ((first, False), (second, True)):
        assert spans.keys() == {"flow small-work", "write", "look"}
        whole = attributes_of(spans["flow small-work"])
        assert whole["sommelier.flow_run_id"] == str(UUID(bytes=spans["flow small-work"].trace_id))
        assert whole["sommelier.flow_run"]
        assert (whole["sommelier.shop"], whole["sommelier.outcome"]) == ("corner", "completed")
        assert attributes_of(spans["write"]) == {
            "sommelier.shop": "corner",
            "sommelier.outcome": "completed",
            "sommelier.step.cached": is_cached,
            "sommelier.step.tries": 0 if is_cached else 1,
        }
        assert attributes_of(spans["look"]).keys() == {"sommelier.shop", "sommelier.outcome", "sommelier.step.tries"}
        assert {spans[name].parent_span_id for name in ("write", "look")} == {spans["flow small-work"].span_id}
        assert spans["write"].end_time_unix_nano <= spans["look"].start_time_unix_nano


def test_what_fails_says_the_kind_of_its_error_and_not_its_words(server: None, collector: Collector) -> None:
    ids = []

    def work(run: Run) -> None:
        from prefect.runtime import flow_run

        ids.append(str(flow_run.id))
        fail(run)

    with pytest.raises(ConnectionError):
        run_traced(work)
    spans = spans_of(collector, ids[0])
    assert spans.keys() == {"flow small-work", "fail"}
    for span in spans.values():
        assert span.status.code == Status.STATUS_CODE_ERROR
        told = attributes_of(span)
        assert (told["sommelier.outcome"], told["error.type"]) == ("failed", "ConnectionError")
    assert attributes_of(spans["fail"])["sommelier.step.tries"] == 3
    assert "sommelier.step.cached" not in attributes_of(spans["fail"])
    assert not [one for one in collector.spans if SECRET.encode() in one.SerializeToString()]


def test_what_waits_for_approval_has_not_failed(collector: Collector) -> None:
    def work(params: PipelineParams) -> None:
        raise Pause("somebody is asked")

    with pytest.raises(Pause):
        traced(work)(PipelineParams(shop="corner"))
    [span] = collector.spans
    assert span.name == "flow work"
    assert attributes_of(span) == {"sommelier.shop": "corner", "sommelier.outcome": "waiting"}
    assert span.status.code == Status.STATUS_CODE_UNSET


def test_a_collector_that_does_not_answer_stops_no_run(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_FLUSH_S", 0.3)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes a connection, and never says a word
        monkeypatch.setenv("SOMMELIER_PLATFORM__TRACING__ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        assert traced(_shop_of)(PipelineParams(shop="corner")) == "corner"
        # The run has ended, and its spans still wait to be taken.
        assert "spans" in {one.name for one in set(threading.enumerate()) - before}
    assert collector.spans == []


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_opentelemetry_refuses_stops_no_run_and_is_said(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert traced(_shop_of)(PipelineParams(shop="corner")) == "corner"
    assert "Flows are not traced" in caplog.text
    assert collector.spans == []


def test_what_opentelemetry_refuses_as_it_is_imported_stops_no_run(tmp_path: Path) -> None:
    code = (
        "from flows.reporting.traces import traced; from flows.params import PipelineParams\n"
        "def work(params: PipelineParams) -> str: return params.shop\n"
        "assert traced(work)(PipelineParams(shop='corner')) == 'corner'"
    )
    given = {"SOMMELIER_PLATFORM__TRACING__ENDPOINT": "http://127.0.0.1:4318/v1/traces", **dict(REFUSED[1:])}
    environment = {**os.environ, "SOMMELIER_WORK_DIR": str(tmp_path), "PYTHONPATH": ".", **given}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert "Flows are not traced" in ended.stderr


def test_a_name_of_the_environment_counts(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "wine")
    traced(_shop_of)(PipelineParams(shop="corner"))
    assert collector.service == "wine"


def test_where_nobody_asked_nothing_is_imported_that_could_send(tmp_path: Path) -> None:
    code = (
        "import sys; from flows.reporting.traces import traced; from flows.params import PipelineParams\n"
        "def work(params: PipelineParams) -> str: return params.shop\n"
        "assert traced(work)(PipelineParams(shop='corner')) == 'corner'\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.exporter')]"
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SOMMELIER_")}
    environment = {**variables, "SOMMELIER_WORK_DIR": str(tmp_path), "PYTHONPATH": "."}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("entrypoint", [entry["entrypoint"] for entry in read_topology()])
def test_every_flow_is_traced(entrypoint: str) -> None:
    file, _, name = entrypoint.partition(":")
    function: Any = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name).fn
    assert function.__code__ is traced(_shop_of).__code__


def test_what_runs_flows_is_told_where_spans_go(tmp_path: Path) -> None:
    endpoint = "http://127.0.0.1:4318/v1/traces"
    given = [f"work_dir={tmp_path}", f"platform.tracing.endpoint={endpoint}", "platform.tracing.share=0.5"]
    told = load_settings(variables=child_environment(load_settings(overrides=given)))
    assert told.platform.tracing == TracingSettings(endpoint=endpoint, share=0.5)
    assert told.service_tracing == told.platform.tracing


def test_the_service_may_have_an_endpoint_of_its_own() -> None:
    assert not load_settings(variables={}).service_tracing.endpoint
    own = "serving.tracing.endpoint=http://10.0.0.2:4318/v1/traces"
    alone = load_settings(variables={}, overrides=[own])
    assert alone.service_tracing.endpoint == own.partition("=")[2]
    assert not alone.platform.tracing.endpoint
    both = load_settings(variables={}, overrides=[own, "platform.tracing.endpoint=http://10.0.0.3:4318/v1/traces"])
    assert both.service_tracing.endpoint == own.partition("=")[2]


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ([], ("http://10.0.0.3:4318", 0.5)),
        (["share=0.05"], ("http://10.0.0.3:4318", 0.05)),
        (["share=1.0"], ("http://10.0.0.3:4318", 1.0)),
        (["endpoint=http://10.0.0.2:4318"], ("http://10.0.0.2:4318", 0.5)),
        (["endpoint=http://10.0.0.2:4318", "share=0.05"], ("http://10.0.0.2:4318", 0.05)),
    ],
)
def test_endpoint_and_share_of_the_service_each_count_where_they_are_given(
    tmp_path: Path, own: list[str], told: tuple[str, float]
) -> None:
    shared = [f"work_dir={tmp_path}", "platform.tracing.endpoint=http://10.0.0.3:4318", "platform.tracing.share=0.5"]
    settings = load_settings(variables={}, overrides=[*shared, *(f"serving.tracing.{one}" for one in own)])
    for one in (settings, load_settings(variables=child_environment(settings))):
        assert (one.service_tracing.endpoint, one.service_tracing.share) == told


def _shop_of(params: PipelineParams) -> str:
    return params.shop
