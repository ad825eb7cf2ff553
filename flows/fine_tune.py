"""Fine-tune on the current data, and promote what passes the gate."""

from __future__ import annotations

from prefect import flow

from flows.erasure.completion import finish_erasures
from flows.erasure.waiting import remove_waiting
from flows.loop.runs import recorded
from flows.params import PipelineParams
from flows.promotion.gate import Decision
from flows.pruning import RECORDED_HOOKS, pruned
from flows.reporting.traces import traced
from flows.steps.bundles import learn
from flows.steps.data import prepare
from flows.steps.preconditions import check_recipe
from flows.steps.release import release, release_answered
from flows.steps.run import Run


@flow(name="fine-tune", log_prints=False, **RECORDED_HOOKS)
@traced
@pruned
@recorded
def fine_tune(params: PipelineParams) -> Decision:
    """Learn what is new from the weights in service, evaluate, gate, refit, promote; earlier stages run only where the
    data is new. Where those weights do not fit, all is fitted from nothing, and the run says why.

    Args:
        params: The shop and the recipe; change the models' settings here to try others.
    """
    remove_waiting(params.shop)
    run = Run.of(params)
    released = release_answered(run)
    if released is None:
        check_recipe(run.recipe)
        prepared = prepare(run)
        released = release(run, prepared, learn(run, prepared, warm=True))
    finish_erasures(run.layout)
    return released.decision
