"""Is what comes in now still like what the model in service learned from?"""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from core.promotions import version_in_service
from flows.errors import NothingInService
from flows.params import PipelineParams
from flows.steps.data import pass_data_gate
from flows.steps.drift import watch
from flows.steps.run import Run
from recommender.bundle.manifest import read_manifest


@flow(name="monitor", log_prints=False)
def monitor(params: PipelineParams) -> bool:
    """Compare the events since the cut-off of the bundle in service with those before; returns whether they drifted.

    Args:
        params: The shop and the recipe.
    Raises:
        NothingInService: no bundle was promoted yet.
    """
    run = Run.of(params)
    champion = version_in_service(run.layout.model_name)
    if champion is None:
        raise NothingInService(
            "Cannot monitor",
            got=f"shop={params.shop}",
            expected="a shop with a bundle in service",
            do="Run the pipeline deployment first",
        )
    learned_until = datetime.fromisoformat(read_manifest(champion.folder).data.test_at)
    _, clean = pass_data_gate(run)
    return watch(run, clean, learned_until).drifted
