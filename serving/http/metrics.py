"""The service's own Prometheus metrics, beside BentoML's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from serving.api.message import API_PREFIX
from serving.api.recommend import Recommendations, RecommendationsList
from serving.api.score import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry, Counter, Histogram

    from core.logs.answered import AnswerCounts
    from core.stages import Stage
    from recommender.bundle.manifest import Manifest

# From a warm answer (1 ms) to a generated text (seconds).
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STAGE_BUCKETS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """Counts the service's answers, events and bundles.

    Make it inside a worker, not on import: prometheus_client decides when it is first imported whether it works
    across processes, and BentoML says so in the worker's environment only.

    Args:
        registry: Where to register; prometheus_client's own by default.
        answered: Where answers are counted for monitoring, too.
    """

    def __init__(self, registry: CollectorRegistry | None = None, answered: AnswerCounts | None = None) -> None:
        from prometheus_client import REGISTRY, Counter, Gauge, Histogram

        self._answered = answered

        to = REGISTRY if registry is None else registry
        self._requests = Counter(
            "sommelier_requests", "Answers by endpoint and HTTP status.", ["endpoint", "outcome", "status"], registry=to
        )
        self._seconds = Histogram(
            "sommelier_request_duration_seconds",
            "Time to the answer, by endpoint.",
            ["endpoint"],
            buckets=_BUCKETS_S,
            registry=to,
        )
        self._cold_starts = Counter(
            "sommelier_cold_starts", "Answers without a history to use.", ["endpoint", "reason"], registry=to
        )
        self._degraded = Counter(
            "sommelier_degraded_answers",
            "Answers that had to do without something, by what.",
            ["endpoint", "without"],
            registry=to,
        )
        self._store = Gauge(
            "sommelier_online_store_away",
            "1 while the online store cannot be read, and answers go on without it.",
            multiprocess_mode="mostrecent",
            registry=to,
        )
        self._chores = Counter(
            "sommelier_chores_failed",
            "Failures of what a worker does at each check of the model store.",
            ["chore"],
            registry=to,
        )
        self._events = Counter("sommelier_events", "Events received, by outcome.", ["outcome"], registry=to)
        self._pending = Gauge(
            "sommelier_events_pending",
            "Logged events that the online store does not have yet.",
            multiprocess_mode="mostrecent",
            registry=to,
        )
        self._bundle = Gauge(
            "sommelier_bundle_info",
            "1 for the bundle in service, 0 for those before it.",
            ["model", "digest"],
            multiprocess_mode="mostrecent",
            registry=to,
        )
        self._learned_until = Gauge(
            "sommelier_bundle_learned_until_timestamp_seconds",
            "Up to when the bundle in service learned.",
            multiprocess_mode="mostrecent",
            registry=to,
        )
        self._quality = Gauge(
            "sommelier_bundle_quality",
            "What the evaluation of the bundle in service found, by metric.",
            ["metric"],
            multiprocess_mode="mostrecent",
            registry=to,
        )
        self._bundle_failures = Counter(
            "sommelier_bundle_failures", "Failed checks of the model store and failed loads.", registry=to
        )
        self._fallback = Gauge(
            "sommelier_bundle_fallback",
            "1 while an earlier bundle serves, as the promoted one cannot be loaded.",
            multiprocess_mode="mostrecent",
            registry=to,
        )
        self._texts = Counter("sommelier_texts", "Texts that were asked for, by outcome.", ["outcome"], registry=to)
        self._variant_seconds = Histogram(
            "sommelier_variant_duration_seconds",
            "Time to compute a list within an experiment, by experiment and variant.",
            ["experiment", "variant"],
            buckets=_BUCKETS_S,
            registry=to,
        )
        self._variant_failures = Counter(
            "sommelier_variant_failures",
            "Lists within an experiment that could not be made, by experiment and variant.",
            ["experiment", "variant"],
            registry=to,
        )
        self._stage_seconds = Histogram(
            "sommelier_stage_duration_seconds",
            "Time that an answer of /v1/recommend spends in each stage, by experiment and variant.",
            ["stage", "experiment", "variant"],
            buckets=_STAGE_BUCKETS_S,
            registry=to,
        )
        # Looking a label up costs as much as counting, and an answer counts many.
        self._of_stages: dict[tuple[str, str, str], Histogram] = {}
        self._of_endpoint: dict[str, Histogram] = {}
        self._of_status: dict[tuple[str, int], Counter] = {}
        self._predictions = Counter(
            "sommelier_predictions", "Records of the prediction log, by outcome.", ["outcome"], registry=to
        )
        self._shadows = Counter(
            "sommelier_shadow_answers", "Answers that a shadow was asked for, by outcome.", ["outcome"], registry=to
        )
        self._refused = Gauge(
            "sommelier_experiments_refused",
            "Experiments that run and are not followed: refused or overruled.",
            multiprocess_mode="mostrecent",
            registry=to,
        )
        self._in_service: tuple[str, str] | None = None

    def answered(self, endpoint: str, status: int, seconds: float, is_throttled: bool = False) -> None:
        """Count an answer and its time.

        Args:
            is_throttled: Whether it was refused as its caller asks too often.
        """
        counted, timed = self._of_status.get((endpoint, status)), self._of_endpoint.get(endpoint)
        if counted is None:
            outcome = "ok" if status < 400 else "refused" if status < 500 else "failed"
            counted = self._of_status[endpoint, status] = self._requests.labels(endpoint, outcome, str(status))
        if timed is None:
            timed = self._of_endpoint[endpoint] = self._seconds.labels(endpoint)
        counted.inc()
        timed.observe(seconds)
        if self._answered is not None:
            self._answered.add(endpoint, status, is_throttled=is_throttled)

    def refused(self, endpoint: str, number: int) -> None:
        """Count answers to requests that were too many at once."""
        self._requests.labels(endpoint, "refused", "429").inc(number)
        if self._answered is not None:
            self._answered.add(endpoint, 429, number)

    def gave(self, endpoint: str, answer: BaseModel) -> None:
        """Count an answer, each of many, that has no history to use, or had to do without something."""
        for one in answer.answers if isinstance(answer, RecommendationsList) else [answer]:
            if isinstance(one, Recommendations | Scores) and one.reason is not None:
                self._cold_starts.labels(endpoint, one.reason).inc()
            for without in getattr(one, "degraded", ()):
                self._degraded.labels(endpoint, without).inc()

    def store_is_away(self, is_away: bool) -> None:
        """Note whether the online store can be read."""
        self._store.set(is_away)

    def chore_failed(self, chore: str) -> None:
        """Count a failure of what is done at each check of the model store."""
        self._chores.labels(chore).inc()

    def received_events(self, accepted: int, duplicates: int) -> None:
        """Count events."""
        self._events.labels("accepted").inc(accepted)
        self._events.labels("duplicate").inc(duplicates)

    def pending_events(self, number: int) -> None:
        """Note how many events wait to be pushed."""
        self._pending.set(number)

    def gave_text(self, answer: BaseModel) -> None:
        """Count what an answer with a text gave; see `gave`."""
        self.gave(f"{API_PREFIX}/feedback", answer)

    def texts(self, outcome: str, number: int) -> None:
        """Count texts."""
        self._texts.labels(outcome).inc(number)

    def variant_answered(self, experiment: str, variant: str, seconds: float) -> None:
        """Count a list of an experiment, and its time. There are as many labels as variants that were ever started."""
        self._variant_seconds.labels(experiment, variant).observe(seconds)

    def variant_failed(self, experiment: str, variant: str) -> None:
        """Count a list of an experiment that could not be made."""
        self._variant_failures.labels(experiment, variant).inc()

    def stages_passed(self, experiment: str, variant: str, seconds: Mapping[Stage, float]) -> None:
        """Count what each stage of an answer took."""
        for stage, taken in seconds.items():
            key = (stage, experiment, variant)
            counted = self._of_stages.get(key)
            if counted is None:
                counted = self._of_stages[key] = self._stage_seconds.labels(*key)
            counted.observe(taken)

    def predictions(self, outcome: str, number: int) -> None:
        """Count records of the prediction log."""
        self._predictions.labels(outcome).inc(number)

    def shadow(self, outcome: str) -> None:
        """Count an answer that a shadow was asked for."""
        self._shadows.labels(outcome).inc()

    def refused_experiments(self, number: int) -> None:
        """Note how many experiments run and are not followed."""
        self._refused.set(number)

    def swapped(self, model: str, manifest: Manifest) -> None:
        """Note the bundle that is in service from now on, what its evaluation found and until when it learned."""
        self.let_go()
        self._in_service = (model, manifest.digest)
        self._bundle.labels(*self._in_service).set(1)
        self._learned_until.set(manifest.data.learned_until_at.timestamp())
        ranking, served = manifest.metrics.get("ranking", {}), manifest.metrics.get("served")
        for metric, value in ranking.get(served, {}).items():
            if isinstance(value, int | float):
                self._quality.labels(metric).set(value)

    def let_go(self) -> None:
        """Note that the bundle that was in service, if any, is not any more."""
        if self._in_service is not None:
            self._bundle.labels(*self._in_service).set(0)
        self._in_service = None

    def bundle_failed(self) -> None:
        """Count a failed check of the model store, or a failed load."""
        self._bundle_failures.inc()

    def falls_back(self, does: bool) -> None:
        """Note whether another bundle than the promoted one is in service."""
        self._fallback.set(does)
