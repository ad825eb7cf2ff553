"""Forget a person: remove what there is of them, train without them, and put the new bundle in place of the old."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from core.layout import Layout
from core.tombstones import bury
from features.erasure import is_unfinished
from flows.environment import current_settings
from flows.erasure.completion import finish_erasures, is_waiting
from flows.erasure.receipts import describe, read_receipts, versions_to_go
from flows.erasure.removal import remove_person
from flows.erasure.waiting import remove_waiting
from flows.errors import ErasureUnfinished
from flows.params import ForgetParams, PipelineParams
from flows.pruning import HOOKS, pruned
from flows.reporting.artifacts import publish_receipt
from flows.reporting.traces import traced
from flows.steps.bundles import learn
from flows.steps.data import prepare
from flows.steps.release import release
from flows.steps.run import Run


@flow(name="forget", log_prints=False, **HOOKS)
@traced
@pruned
def forget(params: ForgetParams) -> dict[str, str]:
    """Remove a person's data, train without them, remove the bundles that learned from them; returns receipts' states.

    Args:
        params: The shop, the recipe, and whom. The id is taken out of this run's parameters before anything else.
    Raises:
        ErasureUnfinished: something could not be removed, or a bundle that learned from the person is still in service.
    """
    settings = current_settings()
    layout, log = Layout(settings.work_dir, params.shop), get_run_logger()
    if params.user:
        stone = bury(layout.forgotten, params.user)
        _hide_user(params, stone.receipt)
        remove_person(layout, settings.feature_store, params.user, log.info)
    remove_waiting(params.shop)
    if is_waiting(layout):
        _learn_without(params, layout)
    finish_erasures(layout)
    receipts = [one for one in read_receipts(layout) if one.is_open or one.number == _newest(layout)]
    for receipt in receipts:
        publish_receipt(receipt.number, "\n".join(f"- {line}" for line in describe(receipt)))
    left = [receipt for receipt in receipts if receipt.is_open]
    if left:
        raise ErasureUnfinished(
            "Somebody is not forgotten yet",
            got=f"receipts={[receipt.number for receipt in left]}, {' '.join(describe(left[0])[-1:])}",
            expected="nothing left, and no bundle in service that learned from them",
            where=str(layout.receipts),
            do="Run forget again; for a receipt that is still removing, with the user's id",
        )
    return {str(receipt.number): receipt.state for receipt in receipts}


def _newest(layout: Layout) -> int:
    return max((receipt.number for receipt in read_receipts(layout)), default=0)


def _learn_without(params: ForgetParams, layout: Layout) -> None:
    """Features counted anew; and, where what is in service learned from somebody forgotten, another bundle."""
    run = Run.of(PipelineParams(shop=params.shop, recipe=params.recipe))
    to_go = versions_to_go(layout)
    if not (to_go or is_unfinished(layout.feast)):
        return
    prepared = prepare(run)
    if to_go:
        # Nobody's approval stands between a person and being forgotten.
        release(run, prepared, learn(run, prepared, checks=False), asks=False)


def _hide_user(params: ForgetParams, receipt: int) -> None:
    """Put the receipt's number in the place of the id in what the server keeps of this run."""
    from prefect.client.orchestration import get_client

    hidden = params.model_copy(update={"user": ""}).model_dump(mode="json")
    body = {"parameters": {"params": hidden}, "tags": [*flow_run.tags, f"receipt:{receipt}"]}
    with get_client(sync_client=True) as client:
        client._client.patch(f"/flow_runs/{flow_run.id}", json=body).raise_for_status()
