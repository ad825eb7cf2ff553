"""From a candidate to the bundle in service: evaluate, gate, report, promote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from core.promotions import Version, version_in_service
from core.storage import scratch_folder
from features.counting.moments import as_us
from flows.erasure.receipts import versions_to_go
from flows.errors import ChampionChanged
from flows.loop.canary import begin_canary
from flows.loop.judgements import record_judgement
from flows.promotion.bundles import find_judged
from flows.promotion.champion import UnseenEvents
from flows.promotion.gate import Decision
from flows.reporting import artifacts
from flows.reporting.gauges import publish_gate
from flows.reporting.reports import EVALUATIONS, write_index
from flows.steps.bundles import Learned, bundle_of_baseline
from flows.steps.data import Prepared
from flows.steps.refit import refit, refit_baseline
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, action, step
from recommender.evaluation.feedback.names import without_samples
from recommender.evaluation.names import gap_warnings

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from validation.summary import ValidationSummary

_DECISIONS = 3  # tries, where what is in service changes between gate and promotion


@step("evaluate", reads=("evaluation.k",), computes=True)
def evaluate_candidate(
    step: StepContext,
    candidate: Output[str],
    training: Output[TrainingSummary],
    clean: Output[ValidationSummary],
) -> dict[str, Any]:
    """Evaluate a candidate on the test window, beside the baselines and the model before fine-tuning."""
    from recommender.bundle.loading import load_bundle
    from recommender.evaluation.evaluation import evaluate_bundle

    bundle = load_bundle(candidate.folder, step.device, step.layout.language_models)
    k, users = step.recipe.evaluation.k, clean.folder / "users.parquet"
    return evaluate_bundle(bundle, training.folder, k, users=users, progress=step.progress)


@action("gate", reads=("gate", "evaluation.k", "features"), computes=True)
def pass_gate(step: StepContext, candidate: Path, training: Path, clean: Path, metrics: dict[str, Any]) -> Decision:
    """Compare a candidate with the best baseline, and with the bundle in service on events that neither learned."""
    from flows.promotion.decision import decide_candidate

    recipe, model = step.recipe, step.layout.model_name
    to_go = versions_to_go(step.layout)
    with _test_events(step, training, clean) as events:
        return decide_candidate(candidate, events, metrics, recipe.gate, recipe.evaluation.k, model, to_go)


@action("gate-baseline", reads=("gate", "evaluation.k", "features"), computes=True)
def pass_gate_with_baseline(
    step: StepContext, bundle: Path, training: Path, clean: Path, refused: Decision
) -> Decision:
    """Compare the baseline that a candidate lost to with the bundle in service, likewise."""
    from flows.promotion.decision import decide_served_baseline

    recipe, model = step.recipe, step.layout.model_name
    to_go = versions_to_go(step.layout)
    with _test_events(step, training, clean) as events:
        return decide_served_baseline(bundle, events, refused, recipe.gate, recipe.evaluation.k, model, to_go)


@contextmanager
def _test_events(step: StepContext, training: Path, clean: Path) -> Iterator[UnseenEvents]:
    """What bundles are compared on; the queries of a window of its own are looked up when they are asked for."""
    from features.training import build_queries

    layout, features = step.layout, step.recipe.features
    with scratch_folder(layout.training("gate")) as place:

        def queries_since(opens: datetime) -> Path:
            target = place / str(as_us(opens))
            return target if target.exists() else build_queries(clean, layout.feast, target, features, opens)

        yield UnseenEvents(
            training, queries_since, partial(find_judged, layout), step.device, users=clean / "users.parquet"
        )


@action("report-evaluation")
def report_evaluation(
    step: StepContext, metrics: dict[str, Any], decision: Decision, page: Path, title: str, subtitle: str
) -> Path:
    """Write the evaluation's page and its JSON."""
    from recommender.evaluation.report import write_report

    compared, reason = decision.comparison, ". ".join(filter(None, (decision.reason, decision.refit.removesuffix("."))))
    judgement = decision.model_dump(mode="json", include={"segments", "guardrails"}) | {"verdict": decision.verdict}
    metrics = {**metrics, "judgement": judgement}
    return write_report(page, metrics, title=title, subtitle=subtitle, comparison=compared, decision=reason)


@action("promote")
def promote_bundle(step: StepContext, bundle: Path, metrics: dict[str, Any], decision: Decision) -> Version | None:
    """Put a bundle into service, and the service swaps to it by itself; None where it was decided on another one."""
    from flows.promotion.decision import promote_decided

    try:
        return promote_decided(bundle, step.layout.model_name, metrics, decision)
    except ChampionChanged as error:
        get_run_logger().warning("%s", error)
        return None


@action("record-evaluation")
def keep_figures(step: StepContext, bundle: Path, metrics: dict[str, Any]) -> None:
    """Write its evaluation into a bundle that answers some users first: a promotion finds it there later."""
    from flows.promotion.decision import keep_evaluation

    keep_evaluation(bundle, step.layout.model_name, metrics)


@dataclass(frozen=True)
class Released:
    """What became of a candidate.

    Attributes:
        metrics: Of the candidate, without anybody's texts.
        version: What was promoted: the candidate, or a baseline in its place; None where nothing was.
        bundle: What was decided on, in the work folder: fitted again on everything where it passed. Where the verdict
            is canary, this is what is to answer some users.
    """

    metrics: dict[str, Any]
    decision: Decision
    version: Version | None
    bundle: Path


def release(run: Run, prepared: Prepared, learned: Learned) -> Released:
    """Evaluate, pass the gate, fit again on everything, promote: the candidate, or the best baseline where that is why
    it is refused. What is refused is not fitted again.

    What another flow or a rollback puts into service meanwhile is what the candidate is compared with then.
    """
    candidate, training = learned.candidate, learned.training
    evaluated = evaluate_candidate(run, candidate=candidate, training=training, clean=prepared.clean).value
    for warning in gap_warnings(evaluated):
        get_run_logger().warning("%s", warning)
    version = None
    for _ in range(_DECISIONS):
        bundle, decision = _decide(run, prepared, learned, evaluated)
        metrics = {**evaluated, "served": decision.served}
        page = _report(run, training.value, prepared.clean.key, candidate.value, metrics, decision)
        is_wanted = decision.promote or decision.promote_baseline
        version = promote_bundle(run, bundle=bundle, metrics=metrics, decision=decision) if is_wanted else None
        if decision.canary:
            keep_figures(run, bundle=bundle, metrics=metrics)
        if version is not None or not is_wanted:
            break
    else:
        decision = _give_up(decision)
        metrics = {**evaluated, "served": None}
        page = _report(run, training.value, prepared.clean.key, candidate.value, metrics, decision)
    judged = record_judgement(run.layout, candidate.value, decision, promoted=version is not None)
    if decision.canary:
        begin_canary(run.layout, bundle, judged, decision.generation)
    artifacts.publish_metrics(metrics, run.recipe.evaluation.k, run.page_url(page))
    publish_gate(run.layout, decision)
    artifacts.publish_decision(decision, version_in_service(run.layout.model_name))
    return Released(without_samples(metrics), decision, version, bundle)


def _decide(run: Run, prepared: Prepared, learned: Learned, metrics: dict[str, Any]) -> tuple[Path, Decision]:
    """What is decided, and the bundle that it is about: the candidate, or the best baseline in its place; fitted again
    on everything where it is to go into service and the recipe says so.
    """
    from flows.promotion.decision import decide_refit

    candidate, training, clean = learned.candidate, learned.training.folder, prepared.clean.folder
    decision = pass_gate(run, candidate=candidate.folder, training=training, clean=clean, metrics=metrics)
    is_refit = run.recipe.refit.enabled
    if not decision.lost_to_baseline or decision.baseline is None:
        if not (is_refit and decision.verdict != "refuse"):
            return candidate.folder, decision
        bundle = refit(run, prepared, learned).folder
    else:
        baseline, judged = bundle_of_baseline(run, decision.baseline.kind, learned, prepared.clean)
        decision = pass_gate_with_baseline(run, bundle=judged.folder, training=training, clean=clean, refused=decision)
        if not (is_refit and decision.verdict != "refuse"):
            return judged.folder, decision
        bundle = refit_baseline(run, prepared, learned, baseline, judged).folder
    return bundle, decide_refit(bundle, decision, run.layout.model_name)


def _give_up(decision: Decision) -> Decision:
    """What is decided when what is in service changed after every decision."""
    reason = f"what is in service changed {_DECISIONS} times while this was decided: run the flow again"
    return decision.model_copy(
        update={"promote": False, "promote_baseline": False, "served": None, "reason": f"{decision.reason}; {reason}"}
    )


def _report(
    run: Run, windows: TrainingSummary, clean_key: str, digest: str, metrics: dict[str, Any], decision: Decision
) -> Path:
    """The evaluation's page; one that stands is written again only where there is more to say."""
    page = run.layout.reports / clean_key / EVALUATIONS / f"{digest}.html"
    if decision.comparison or decision.refit or run.refresh or not page.exists():
        title = f"{run.layout.shop}: evaluation of a bundle"
        subtitle = (
            f"Bundle {digest}; learned from {windows.first_event_at[:10]} to {windows.validation_at[:10]}, "
            f"evaluated on {windows.test_at[:10]} to {windows.last_event_at[:10]}."
        )
        report_evaluation(run, metrics=metrics, decision=decision, page=page, title=title, subtitle=subtitle)
        write_index(run.layout)
    return page
