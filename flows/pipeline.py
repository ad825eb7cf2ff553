"""The main job: from a shop's raw data to a bundle in service, and a look back at the data."""

from __future__ import annotations

from datetime import datetime

from prefect import flow
from prefect.runtime import flow_run

from flows import artifacts
from flows.measurement import read_steps
from flows.outcome import Outcome, choose_example, keep_outcome
from flows.params import PipelineParams
from flows.promotion.model_store import newest_version
from flows.pruning import prune
from flows.steps import stages


@flow(name="pipeline", log_prints=False)
def pipeline(params: PipelineParams) -> Outcome:
    """Ingest, validate, build features, fine-tune, evaluate, gate, promote, monitor.

    Args:
        params: The shop and the recipe. Equal work is not done twice: a run that was killed goes on where it was.
    """
    place = stages.Place.of(params)
    prepared = stages.prepare(place)
    candidate = stages.learn(place, prepared)
    judged = stages.judge(place, candidate)
    drift = stages.watch(place, prepared, datetime.fromisoformat(candidate.training.test_at))
    steps = read_steps(str(flow_run.id))
    artifacts.publish_steps(steps)
    user, item = choose_example(candidate.training.folder)
    in_service = newest_version(place.layout.model_name)
    outcome = Outcome(
        flow_run_id=str(flow_run.id),
        in_service=in_service.tag if in_service else None,
        promoted=judged.version is not None,
        reason=judged.decision.reason,
        served=judged.decision.served,
        baseline=judged.decision.baseline,
        metrics=judged.metrics,
        steps=steps,
        drifted=drift.drifted,
        example_user=user,
        example_item=item,
    )
    keep_outcome(place.layout.root, outcome)
    prune(place.layout)
    return outcome
