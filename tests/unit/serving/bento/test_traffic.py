"""BentoML's own figures: of endpoints by their names, so that no id stands in them, however often they are asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.bento.traffic import CountTraffic
from serving.http.middleware import EndpointNames

NAMES = EndpointNames(frozenset({"/v1/recommend", "/v1/users/{user_id}", "/livez"}))
SERVICE = {"service_name": "", "service_version": "", "runner_name": ""}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """BentoML's metrics, in a registry of their own: a process can have its own once."""
    found = CollectorRegistry()
    of_service = ["service_name", "service_version", "runner_name"]

    def set_up(counting: Any) -> None:
        asked, answered = ["endpoint", *of_service], ["endpoint", *of_service, "http_response_code"]
        counting.metrics_request_duration = Histogram("seconds", "-", answered, registry=found)
        counting.metrics_request_total = Counter("requests", "-", answered, registry=found)
        counting.metrics_request_in_progress = Gauge("in_progress", "-", asked, registry=found)
        counting.metrics_last_request_timestamp = Gauge("last", "-", of_service, registry=found)
        counting._is_setup = True

    monkeypatch.setattr(CountTraffic, "_setup", set_up)
    monkeypatch.setattr(CountTraffic, "_labels", staticmethod(lambda: SERVICE))
    return found


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404 if "missing" in scope["path"] else 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


def ask(counting: CountTraffic, *paths: str) -> None:
    async def nothing(*_: Any) -> Any:
        return None

    async def each() -> None:
        for path in paths:
            await counting({"type": "http", "path": path}, nothing, nothing)

    asyncio.run(each())


def test_requests_are_counted_by_endpoint_and_status(registry: CollectorRegistry) -> None:
    counting = CountTraffic(answer, NAMES.of, "bentoml_service", ["/livez"])
    ask(counting, "/livez")
    assert not registry.get_sample_value("last", SERVICE)  # a probe is no request of anybody
    ask(counting, "/v1/recommend", "/v1/recommend", "/v1/users/jane", "/v1/users/missing", "/made/up", "/metrics")

    def total(endpoint: str, status: int) -> float | None:
        labels = {"endpoint": endpoint, "http_response_code": str(status), **SERVICE}
        assert registry.get_sample_value("requests_total", labels) == registry.get_sample_value("seconds_count", labels)
        return registry.get_sample_value("requests_total", labels)

    assert total("/v1/recommend", 200) == 2
    assert [total("/v1/users/{user_id}", 200), total("/v1/users/{user_id}", 404)] == [1, 1]
    assert [total("other", 200), total("/livez", 200)] == [1, 1]
    assert registry.get_sample_value("in_progress", {"endpoint": "/v1/recommend", **SERVICE}) == 0
    assert (registry.get_sample_value("last", SERVICE) or 0) > 0
    told = [sample.labels.get("endpoint") for metric in registry.collect() for sample in metric.samples]
    assert not [one for one in told if one is not None and ("jane" in one or "made" in one or one == "/metrics")]


def test_a_request_that_fails_is_no_longer_in_progress(registry: CollectorRegistry) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(CountTraffic(fails, NAMES.of, "bentoml_service"), "/v1/recommend")
    assert registry.get_sample_value("in_progress", {"endpoint": "/v1/recommend", **SERVICE}) == 0
