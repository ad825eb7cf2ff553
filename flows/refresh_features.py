"""Bring the feature store up to date with the source and the service's events, without training."""

from __future__ import annotations

from prefect import flow

from flows.erasure.completion import finish_erasures
from flows.erasure.waiting import remove_waiting
from flows.loop.runs import recorded
from flows.params import PipelineParams
from flows.pruning import RECORDED_HOOKS, pruned
from flows.reporting.traces import traced
from flows.steps.data import prepare
from flows.steps.run import Run


@flow(name="refresh-features", log_prints=False, **RECORDED_HOOKS)
@traced
@pruned
@recorded
def refresh_features(params: PipelineParams) -> dict[str, int]:
    """Ingest, validate, compute features, materialise; returns the rows of each feature view.

    Args:
        params: The shop and the recipe.
    """
    remove_waiting(params.shop)
    run = Run.of(params)
    rows = dict(prepare(run).features.rows)
    finish_erasures(run.layout)
    return rows
