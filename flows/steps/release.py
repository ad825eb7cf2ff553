"""From a candidate to the bundle in service: evaluate, gate, report, promote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import artifacts
from flows.promotion.gate import Decision
from flows.promotion.model_store import Version, newest_version
from flows.reports import EVALUATIONS, write_index
from flows.steps.bundles import bundle_of_baseline
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, action, step

if TYPE_CHECKING:
    from features.training import TrainingSummary
    from validation.summary import ValidationSummary


@step("evaluate", reads=("evaluation.k",))
def evaluate_candidate(
    step: StepContext,
    candidate: Output[str],
    training: Output[TrainingSummary],
    clean: Output[ValidationSummary],
) -> dict[str, Any]:
    """Evaluate a candidate on the test window, beside the baselines and the model before fine-tuning."""
    from recommender.bundle.loading import load_bundle
    from recommender.evaluation.evaluation import evaluate_bundle

    bundle, users = load_bundle(candidate.folder), clean.folder / "users.parquet"
    k = step.recipe.evaluation.k
    return evaluate_bundle(bundle, training.folder, k, users=users, progress=step.progress)


@action("gate", reads=("gate", "evaluation.k"))
def pass_gate(step: StepContext, candidate: Path, training: Path, metrics: dict[str, Any]) -> Decision:
    """Compare a candidate with the best baseline, and with the bundle in service on the same test events."""
    from flows.promotion.decision import decide_candidate

    recipe, model = step.recipe, step.layout.model_name
    return decide_candidate(candidate, training, metrics, recipe.gate, recipe.evaluation.k, model)


@action("gate-baseline", reads=("gate", "evaluation.k"))
def pass_gate_with_baseline(step: StepContext, bundle: Path, training: Path, refused: Decision) -> Decision:
    """Compare the baseline that a candidate lost to with the bundle in service on the same test events."""
    from flows.promotion.decision import decide_served_baseline

    recipe, model = step.recipe, step.layout.model_name
    return decide_served_baseline(bundle, training, refused, recipe.gate, recipe.evaluation.k, model)


@action("report-evaluation")
def report_evaluation(
    step: StepContext, metrics: dict[str, Any], decision: Decision, page: Path, title: str, subtitle: str
) -> Path:
    """Write the evaluation's page and its JSON."""
    from recommender.evaluation.report import write_report

    compared, reason = decision.comparison, decision.reason
    return write_report(page, metrics, title=title, subtitle=subtitle, comparison=compared, decision=reason)


@action("promote")
def promote_bundle(step: StepContext, bundle: Path, metrics: dict[str, Any], decision: Decision) -> Version:
    """Append a bundle to the model store as the newest version; the service swaps to it by itself."""
    from flows.promotion.decision import promote_decided

    return promote_decided(bundle, step.layout.model_name, metrics, decision)


@dataclass(frozen=True)
class Released:
    """What became of a candidate.

    Attributes:
        version: What was promoted: the candidate, or a baseline in its place; None where nothing was.
    """

    metrics: dict[str, Any]
    decision: Decision
    version: Version | None


def release(
    run: Run, training: Output[TrainingSummary], clean: Output[ValidationSummary], candidate: Output[str]
) -> Released:
    """Evaluate, pass the gate, promote: the candidate, or the best baseline where that is why it is refused."""
    k = run.recipe.evaluation.k
    metrics = evaluate_candidate(run, candidate=candidate, training=training, clean=clean).value
    bundle = candidate.folder
    decision = pass_gate(run, candidate=bundle, training=training.folder, metrics=metrics)
    if decision.lost_to_baseline and decision.baseline is not None:
        bundle = bundle_of_baseline(run, decision.baseline.kind, training, clean, candidate).folder
        decision = pass_gate_with_baseline(run, bundle=bundle, training=training.folder, refused=decision)
    metrics = {**metrics, "served": decision.served}
    page = _report(run, training.value, clean.key, candidate.value, metrics, decision)
    artifacts.publish_metrics(metrics, k, run.page_url(page))
    version = None
    if decision.promote or decision.promote_baseline:
        version = promote_bundle(run, bundle=bundle, metrics=metrics, decision=decision)
    artifacts.publish_decision(decision, newest_version(run.layout.model_name))
    return Released(metrics, decision, version)


def _report(
    run: Run, windows: TrainingSummary, clean_key: str, digest: str, metrics: dict[str, Any], decision: Decision
) -> Path:
    """The evaluation's page; one that stands is written again only where there is more to say."""
    page = run.layout.reports / clean_key / EVALUATIONS / f"{digest}.html"
    if decision.comparison or run.refresh or not page.exists():
        title = f"{run.layout.shop}: evaluation of a bundle"
        subtitle = (
            f"Bundle {digest}; learned from {windows.first_event_at[:10]} to {windows.validation_at[:10]}, "
            f"evaluated on {windows.test_at[:10]} to {windows.last_event_at[:10]}."
        )
        report_evaluation(run, metrics=metrics, decision=decision, page=page, title=title, subtitle=subtitle)
        write_index(run.layout)
    return page
