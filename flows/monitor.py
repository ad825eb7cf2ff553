"""Is what comes in now still like what the model in service learned from?"""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from core.promotions import read_standing
from flows.errors import NothingInService
from flows.params import PipelineParams
from flows.promotion.champion import read_served_manifest
from flows.pruning import pruned
from flows.steps.data import pass_data_gate
from flows.steps.drift import watch
from flows.steps.run import Run


@flow(name="monitor", log_prints=False)
@pruned
def monitor(params: PipelineParams) -> bool:
    """Compare the events since the cut-off of the bundle in service with those before; returns whether they drifted.

    Args:
        params: The shop and the recipe.
    Raises:
        NothingInService: no bundle was promoted yet.
        BundleError: no promoted bundle can be read.
    """
    run = Run.of(params)
    manifest = read_served_manifest(read_standing(run.layout.model_name))
    if manifest is None:
        raise NothingInService(
            "Cannot monitor",
            got=f"shop={params.shop}",
            expected="a shop with a bundle in service",
            do="Run the pipeline deployment first",
        )
    learned_until = datetime.fromisoformat(manifest.data.test_at)
    _, clean = pass_data_gate(run)
    return watch(run, clean, learned_until).drifted
