"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from core.logs.answered import AnswerCounts, read_answered
from recommender.bundle.data_range import DataRange
from recommender.bundle.manifest import Manifest
from serving.api.message import Degradation
from serving.api.recommend import Recommendations, RecommendationsList
from serving.http.metrics import Metrics


def _manifest(digest: str, ndcg: float) -> Manifest:
    times = dict.fromkeys(("first_event_at", "last_event_at", "validation_at", "test_at"), "2026-02-01T00:00:00+00:00")
    return cast(Any, Manifest).model_construct(
        digest=digest,
        data=DataRange(fingerprint="", rows={}, learned_until="2026-03-01T00:00:00+00:00", **times),
        metrics={"served": "blend", "ranking": {"blend": {"ndcg_at_10": ndcg}, "popularity": {"ndcg_at_10": 0.9}}},
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_answers_are_counted_for_monitoring_too(registry: CollectorRegistry, tmp_path: Path) -> None:
    counts = AnswerCounts(tmp_path, days=30, every_s=1)
    meter = Metrics(registry, answered=counts)
    meter.answered("/v1/recommend", 503, 0.004)
    meter.refused("/v1/recommend", 7)
    meter.answered("/v1/recommend", 429, 0.001, is_throttled=True)
    counts.keep()
    (found,) = read_answered(tmp_path).values()
    assert found == {"/v1/recommend": {"failed": 1, "limited": 7, "throttled": 1}}


def test_answers_are_counted_by_endpoint_and_outcome(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    for status in (200, 202, 404, 503):
        meter.answered("/v1/recommend", status, 0.004)

    def count(outcome: str, status: str) -> float | None:
        labels = {"endpoint": "/v1/recommend", "outcome": outcome, "status": status}
        return registry.get_sample_value("sommelier_requests_total", labels)

    assert [count("ok", "200"), count("ok", "202"), count("refused", "404"), count("failed", "503")] == [1, 1, 1, 1]
    seconds = {"endpoint": "/v1/recommend"}
    assert registry.get_sample_value("sommelier_request_duration_seconds_count", seconds) == 4
    within = {"endpoint": "/v1/recommend", "le": "0.005"}
    assert registry.get_sample_value("sommelier_request_duration_seconds_bucket", within) == 4


def test_answers_in_turns_are_each_counted_where_they_belong(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    for _ in range(3):
        for endpoint, status in (("/v1/recommend", 200), ("/v1/score", 200), ("/v1/recommend", 404)):
            meter.answered(endpoint, status, 0.004)
    counted = {
        (sample.labels["endpoint"], sample.labels["outcome"], sample.labels["status"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "sommelier_requests_total"
    }
    assert counted == {
        ("/v1/recommend", "ok", "200"): 3,
        ("/v1/score", "ok", "200"): 3,
        ("/v1/recommend", "refused", "404"): 3,
    }
    seconds = [registry.get_sample_value("sommelier_request_duration_seconds_count", {"endpoint": endpoint})
               for endpoint in ("/v1/recommend", "/v1/score")]  # fmt: skip
    assert seconds == [6, 3]


def answer(reason: str | None, *degraded: Degradation) -> Recommendations:
    return Recommendations(
        model="m:1", user_id="u", cold_start=reason is not None, reason=reason, items=[], degraded=list(degraded)
    )


def test_a_swap_leaves_one_bundle_in_service_and_the_letting_go_none(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    meter.swapped("m:1", _manifest("aa", 0.1))
    meter.swapped("m:2", _manifest("bb", 0.2))

    def in_service(model: str, digest: str) -> float | None:
        return registry.get_sample_value("sommelier_bundle_info", {"model": model, "digest": digest})

    assert (in_service("m:1", "aa"), in_service("m:2", "bb")) == (0, 1)
    assert registry.get_sample_value("sommelier_bundle_quality", {"metric": "ndcg_at_10"}) == 0.2
    meter.let_go()
    meter.let_go()
    assert (in_service("m:1", "aa"), in_service("m:2", "bb")) == (0, 0)
    meter.swapped("m:3", _manifest("cc", 0.2))
    assert (in_service("m:2", "bb"), in_service("m:3", "cc")) == (0, 1)
    learned_until = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert registry.get_sample_value("sommelier_bundle_learned_until_timestamp_seconds") == learned_until


def test_events_cold_starts_and_failures_are_counted(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    meter.received_events(accepted=3, duplicates=1)
    meter.pending_events(2)
    meter.gave("/v1/recommend", answer("unknown user"))
    meter.bundle_failed()
    assert registry.get_sample_value("sommelier_events_total", {"outcome": "accepted"}) == 3
    assert registry.get_sample_value("sommelier_events_total", {"outcome": "duplicate"}) == 1
    assert registry.get_sample_value("sommelier_events_pending") == 2
    cold = {"endpoint": "/v1/recommend", "reason": "unknown user"}
    assert registry.get_sample_value("sommelier_cold_starts_total", cold) == 1
    assert registry.get_sample_value("sommelier_bundle_failures_total") == 1


def test_degraded_answers_are_counted_each_of_many(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    without = answer(None, "online_store")
    meter.gave("/v1/recommend", RecommendationsList(model="m:1", answers=[without, answer(None), without]))
    degraded = {"endpoint": "/v1/recommend", "without": "online_store"}
    assert registry.get_sample_value("sommelier_degraded_answers_total", degraded) == 2
    for is_away in (True, False):
        meter.store_is_away(is_away)
        assert registry.get_sample_value("sommelier_online_store_away") == is_away


def test_a_fallback_is_told_while_it_lasts(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    for does in (True, False):
        meter.falls_back(does)
        assert registry.get_sample_value("sommelier_bundle_fallback") == does


def test_texts_are_counted_by_what_became_of_them(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    meter.texts("written", 2)
    meter.texts("stopped", 1)
    meter.texts("written", 3)
    found = [registry.get_sample_value("sommelier_texts_total", {"outcome": one}) for one in ("written", "stopped")]
    assert found == [5, 1]


def test_lists_of_an_experiment_that_failed_are_counted_by_variant(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    for variant in ("new", "champion", "new"):
        meter.variant_failed("spring", variant)
    name = "sommelier_variant_failures_total"
    assert registry.get_sample_value(name, {"experiment": "spring", "variant": "new"}) == 2
    assert registry.get_sample_value(name, {"experiment": "spring", "variant": "champion"}) == 1


def test_stages_are_counted_by_stage_and_variant(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    meter.stages_passed("", "champion", {"rank": 0.004, "log": 0.00005})
    meter.stages_passed("", "champion", {"rank": 0.002})
    meter.stages_passed("spring", "new", {"rank": 0.5})

    def value(name: str, stage: str, experiment: str, variant: str, **more: str) -> float | None:
        labels = {"stage": stage, "experiment": experiment, "variant": variant, **more}
        return registry.get_sample_value(f"sommelier_stage_duration_seconds_{name}", labels)

    assert value("count", "rank", "", "champion") == 2
    assert value("sum", "rank", "", "champion") == pytest.approx(0.006)
    assert value("bucket", "log", "", "champion", le="0.0001") == 1
    assert value("sum", "rank", "spring", "new") == 0.5


def test_what_fails_at_checks_is_counted_by_chore(registry: CollectorRegistry) -> None:
    meter = Metrics(registry)
    for chore in ("push events", "push events", "show figures"):
        meter.chore_failed(chore)
    assert registry.get_sample_value("sommelier_chores_failed_total", {"chore": "push events"}) == 2
