"""From a candidate to the bundle in service: evaluate, gate, report, promote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from core.promotions import Version, read_standing, version_in_service
from core.storage import scratch_folder
from features.counting.moments import as_us
from flows.erasure.receipts import versions_to_go
from flows.errors import ChampionChanged
from flows.in_use import note_used
from flows.loop.approvals import end_waiting
from flows.loop.canary import begin_canary
from flows.loop.judgements import record_answer, record_judgement
from flows.promotion.approvals import Waiting, drop_waiting
from flows.promotion.bundles import find_judged
from flows.promotion.champion import UnseenEvents
from flows.promotion.decision import follow_approval
from flows.promotion.gate import Decision
from flows.promotion.off_policy import ShopLog
from flows.promotion.writers import ReviewWindow, find_better_writer
from flows.reporting import artifacts
from flows.reporting.gauges import publish_gate
from flows.reporting.reports import EVALUATIONS, place_of, write_index
from flows.steps.approval import (
    Made,
    ask_already,
    begin_waiting,
    check_approvable,
    how_to_answer,
    take_up,
    wait,
)
from flows.steps.bundles import Learned, TakenWriter, bundle_of_baseline
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
    return evaluate_bundle(
        bundle, training.folder, step.recipe.evaluation.k, clean=clean.folder, progress=step.progress
    )


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


@action("choose-writer", computes=True)
def choose_writer(step: StepContext, candidate: Path, training: Path) -> TakenWriter | None:
    """The writer in service, for a baseline that stands in for a candidate whose own is worse, or that has none."""
    layout = step.layout
    judged, models = partial(find_judged, layout), layout.language_models
    window = ReviewWindow(candidate, training, judged, step.device, models, step.progress)
    found = find_better_writer(window, read_standing(layout.model_name), versions_to_go(layout))
    if found is None:
        return None
    step.progress(f"The baseline in the candidate's place keeps the writer in service, as {found.reason}")
    return TakenWriter(Output(found.folder, found.digest, True), found.origin)


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
            training,
            queries_since,
            partial(find_judged, layout),
            step.device,
            users=clean / "users.parquet",
            log=ShopLog(layout, clean),
        )


@action("report-evaluation")
def report_evaluation(
    step: StepContext, metrics: dict[str, Any], decision: Decision, page: Path, title: str, subtitle: str
) -> Path:
    """Write the evaluation's page and its JSON."""
    from recommender.evaluation.report import write_report

    compared, reason = decision.comparison, ". ".join(filter(None, (decision.reason, decision.refit.removesuffix("."))))
    judgement = decision.model_dump(mode="json", include={"segments", "guardrails", "off_policy"}) | {
        "verdict": decision.verdict
    }
    if decision.off_policy is not None:
        judgement["off_policy"]["says"] = decision.off_policy.describe()
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
        made: The candidate, and what it was made of.
    """

    metrics: dict[str, Any]
    decision: Decision
    version: Version | None
    bundle: Path
    made: Made


def release(run: Run, prepared: Prepared, learned: Learned, *, asks: bool = True) -> Released:
    """Evaluate, pass the gate, fit again on everything, promote: the candidate, or the best baseline where that is why
    it is refused. What is refused is not fitted again.

    What another flow or a rollback puts into service meanwhile is what the candidate is compared with then.

    Args:
        asks: Whether it waits for somebody's approval where the recipe wants one. The run's process ends then, and the
            next one goes on with `release_answered`.
    """
    made = Made(learned.candidate, learned.training, prepared.clean)
    evaluated = _evaluate(run, made)
    for warning in gap_warnings(evaluated):
        get_run_logger().warning("%s", warning)
    version = None
    for _ in range(_DECISIONS):
        bundle, decision = _decide(run, prepared, learned, evaluated)
        if decision.waits:
            decision = _ask(run, made, bundle, decision, evaluated) if asks else _unasked(decision)
        metrics, page = _report(run, made, evaluated, decision)
        version = _put_into_service(run, bundle, metrics, decision)
        if version is not None or not _is_wanted(decision):
            break
    else:
        decision = _give_up(decision)
        metrics, page = _report(run, made, evaluated, decision)
    return _conclude(run, Released(metrics, decision, version, bundle, made), page)


def release_answered(run: Run) -> Released | None:
    """Go on where a run waited for somebody's approval: promote what they approved, or leave what is in service.

    Returns:
        None in a run that has asked nobody yet.
    Raises:
        ApprovalImpossible: the recipe wants an approval, and nothing would take the run up again after it.
        DataChanged: somebody was forgotten since the run began.
    """
    check_approvable(run)
    found = take_up(run)
    if found is None:
        return None
    (waiting, made), layout = found, run.layout
    note_used(*waiting.folders(layout))
    run, bundle = replace(run, generation=waiting.forgotten), layout.root / waiting.bundle
    approval = wait(waiting, _describe(run, made, waiting))
    get_run_logger().info("%s", approval.describe())
    record_answer(layout, waiting.flow_run_id, approval)
    try:
        decision = follow_approval(waiting.decision, approval, read_standing(layout.model_name))
        evaluated = _evaluate(run, made)
        metrics, page = _report(run, made, evaluated, decision)
        version = _put_into_service(run, bundle, metrics, decision)
        if version is None and _is_wanted(decision):  # what is in service changed this very moment
            decision = follow_approval(waiting.decision, approval, read_standing(layout.model_name))
            metrics, page = _report(run, made, evaluated, decision)
        released = _conclude(run, Released(metrics, decision, version, bundle, made), page)
    except Exception:
        end_waiting(layout, waiting, "failed")
        raise
    drop_waiting(layout, waiting.flow_run_id)
    return released


def _evaluate(run: Run, made: Made) -> dict[str, Any]:
    return evaluate_candidate(run, candidate=made.candidate, training=made.training, clean=made.clean).value


def _ask(run: Run, made: Made, bundle: Path, decision: Decision, evaluated: dict[str, Any]) -> Decision:
    """Leave for people what they decide by, have them told, and end this process; or the decision, where they are asked
    about the same bundle already.
    """
    if (asked := ask_already(run, bundle, decision)) is not None:
        return follow_approval(decision, asked, read_standing(run.layout.model_name))
    metrics, page = _report(run, made, evaluated, decision)
    artifacts.publish_metrics(metrics, run.recipe.evaluation.k, run.page_url(page))
    artifacts.publish_decision(decision, version_in_service(run.layout.model_name))
    waiting = begin_waiting(run, made, bundle, decision)
    waits = f"until {waiting.until[:16]}, {how_to_answer(waiting)}"
    place = place_of(run.layout, page)
    record_judgement(run.layout, made.candidate.value, decision, promoted=False, waits=waits, page=place)
    wait(waiting, _describe(run, made, waiting))
    raise AssertionError("a run that asks goes on in another process")


def _describe(run: Run, made: Made, waiting: Waiting) -> str:
    """Markdown: what somebody decides by."""
    in_service = version_in_service(run.layout.model_name)
    page = run.page_url(_page(run, made))
    text = artifacts.describe_decision(waiting.decision, in_service)
    until = (
        f"Approve until {waiting.until[:16].replace('T', ' ')} UTC: bundle `{waiting.digest[:16]}` {waiting.verdict}."
    )
    return f"{text}\n\n{until}\n\n[Evaluation report]({page})"


def _unasked(decision: Decision) -> Decision:
    return decision.model_copy(update={"needs_approval": False})


def _is_wanted(decision: Decision) -> bool:
    """Whether something is to go into service for all."""
    return decision.promote or decision.promote_baseline


def _put_into_service(run: Run, bundle: Path, metrics: dict[str, Any], decision: Decision) -> Version | None:
    if decision.canary:
        keep_figures(run, bundle=bundle, metrics=metrics)
    return promote_bundle(run, bundle=bundle, metrics=metrics, decision=decision) if _is_wanted(decision) else None


def _conclude(run: Run, released: Released, page: Path) -> Released:
    """Record what was decided, begin a canary where it says so, and leave it for people."""
    decision, made = released.decision, released.made
    is_promoted, place = released.version is not None, place_of(run.layout, page)
    judged = record_judgement(run.layout, made.candidate.value, decision, promoted=is_promoted, page=place)
    get_run_logger().info("the gate's decision: %s, as %s", judged.state, judged.says)
    if decision.canary:
        begin_canary(run.layout, released.bundle, judged, decision.generation)
    artifacts.publish_metrics(released.metrics, run.recipe.evaluation.k, run.page_url(page))
    publish_gate(run.layout, decision)
    artifacts.publish_decision(decision, version_in_service(run.layout.model_name))
    return replace(released, metrics=without_samples(released.metrics))


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
        writer = choose_writer(run, candidate=candidate.folder, training=training)
        baseline, judged = bundle_of_baseline(run, decision.baseline.kind, learned, prepared.clean, writer)
        decision = pass_gate_with_baseline(run, bundle=judged.folder, training=training, clean=clean, refused=decision)
        if not (is_refit and decision.verdict != "refuse"):
            return judged.folder, decision
        bundle = refit_baseline(run, prepared, learned, baseline, judged, writer).folder
    return bundle, decide_refit(bundle, decision, run.layout.model_name)


def _give_up(decision: Decision) -> Decision:
    """What is decided when what is in service changed after every decision."""
    reason = f"what is in service changed {_DECISIONS} times while this was decided: run the flow again"
    return decision.model_copy(
        update={"promote": False, "promote_baseline": False, "served": None, "reason": f"{decision.reason}; {reason}"}
    )


def _report(run: Run, made: Made, evaluated: dict[str, Any], decision: Decision) -> tuple[dict[str, Any], Path]:
    """The figures with what is served, and the evaluation's page; one that stands is written again only where there is
    more to say.
    """
    metrics, page, windows = {**evaluated, "served": decision.served}, _page(run, made), made.training.value
    if decision.comparison or decision.refit or run.refresh or not page.exists():
        title = f"{run.layout.shop}: evaluation of a bundle"
        subtitle = (
            f"Bundle {made.candidate.value}; learned from {windows.first_event_at[:10]} to "
            f"{windows.validation_at[:10]}, evaluated on {windows.test_at[:10]} to {windows.last_event_at[:10]}."
        )
        report_evaluation(run, metrics=metrics, decision=decision, page=page, title=title, subtitle=subtitle)
        write_index(run.layout)
    return metrics, page


def _page(run: Run, made: Made) -> Path:
    return run.layout.reports / made.clean.key / EVALUATIONS / f"{made.candidate.value}.html"
