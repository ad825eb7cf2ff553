"""The main job: from a shop's raw data to a bundle in service, and a look back at the data."""

from __future__ import annotations

from datetime import datetime

from prefect import flow
from prefect.runtime import flow_run

from core.promotions import version_in_service
from flows.erasure.completion import finish_erasures
from flows.erasure.waiting import remove_waiting
from flows.loop.runs import recorded
from flows.params import PipelineParams
from flows.pruning import RECORDED_HOOKS, pruned
from flows.reporting import artifacts
from flows.reporting.measurement import read_steps
from flows.reporting.outcome import Outcome, choose_example, keep_outcome
from flows.reporting.traces import traced
from flows.steps.bundles import learn
from flows.steps.data import prepare
from flows.steps.drift import watch
from flows.steps.preconditions import check_recipe
from flows.steps.release import release, release_answered
from flows.steps.run import Run


@flow(name="pipeline", log_prints=False, **RECORDED_HOOKS)
@traced
@pruned
@recorded
def pipeline(params: PipelineParams) -> Outcome:
    """Ingest, validate, build features, fine-tune, evaluate, gate, refit, promote, monitor.

    Args:
        params: The shop and the recipe. Equal work is not done twice: a run that was killed continues where it was.
    """
    remove_waiting(params.shop)
    run = Run.of(params)
    released = release_answered(run)
    if released is None:
        check_recipe(run.recipe)
        prepared = prepare(run)
        released = release(run, prepared, learn(run, prepared))
    training = released.made.training
    # Somebody may wait for the first answer: what is new of texts is embedded by the next look of `monitor`.
    drift = watch(run, released.made.clean, datetime.fromisoformat(training.value.test_at), embeds=False)
    steps = read_steps(str(flow_run.id))
    artifacts.publish_steps(steps)
    user, item = choose_example(training.folder)
    in_service = version_in_service(run.layout.model_name)
    outcome = Outcome(
        flow_run_id=str(flow_run.id),
        in_service=in_service.tag if in_service else None,
        promoted=released.version is not None,
        reason=released.decision.reason,
        served=released.decision.served,
        baseline=released.decision.baseline,
        metrics=released.metrics,
        steps=steps,
        drifted=drift.drifted,
        example_user=user,
        example_item=item,
    )
    with run.holding_data():
        keep_outcome(run.layout.root, outcome)
    finish_erasures(run.layout)
    return outcome
