"""Is what comes in now still like what the model in service learned from, and what follows from that?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prefect import flow, get_run_logger

from core.alarms import Alarm
from core.promotions import read_standing
from flows.environment import current_settings
from flows.errors import NothingInService
from flows.loop.approvals import end_late_approvals
from flows.loop.following import follow
from flows.loop.runs import recorded
from flows.params import PipelineParams
from flows.promotion.champion import read_served_manifest
from flows.pruning import RECORDED_HOOKS, pruned
from flows.reporting.gauges import publish_look
from flows.reporting.reports import place_of
from flows.reporting.traces import traced
from flows.steps.data import pass_data_gate
from flows.steps.drift import watch
from flows.steps.run import Run
from monitoring.decisions import Decided
from recommender.bundle.manifest import Manifest
from validation.errors import DataGateError

DATA_GATE = "data.gate"  # the signal of the alarm that the data gate refuses what came in


@flow(name="monitor", log_prints=False, **RECORDED_HOOKS)
@traced
@pruned
@recorded
def monitor(params: PipelineParams) -> Decided:
    """Compare the events since the cut-off of the bundle in service with those before, and decide what follows.

    What the data gate refuses is an alarm, and no failure of the look.

    Args:
        params: The shop and the recipe.
    Raises:
        NothingInService: no bundle was promoted yet.
        BundleError: no promoted bundle can be read.
    """
    run = Run.of(params)
    end_late_approvals(run.layout)
    served = read_served_manifest(read_standing(run.layout.model_name))
    if served is None:
        raise NothingInService(
            "Cannot monitor",
            got=f"shop={params.shop}",
            expected="a shop with a bundle in service",
            do="Run the pipeline deployment first",
        )
    alarms, clean = _look(run, served)
    return follow(run.layout, params, alarms, served, clean, current_settings().loop.retraining)


def _look(run: Run, served: Manifest) -> tuple[list[Alarm], Path | None]:
    """What is beyond noise, and the clean tables; none where the data gate refuses what came in."""
    try:
        _, clean = pass_data_gate(run)
    except DataGateError as error:
        get_run_logger().error("%s", error)
        refused = [_refused_data(served, error)]
        publish_look(run.layout, refused, embeds=False)
        return refused, None
    drift = watch(run, clean, datetime.fromisoformat(served.data.test_at), embeds=True)
    page = place_of(run.layout, drift.page)
    return [alarm.model_copy(update={"page": page}) for alarm in drift.alarms], clean.folder


def _refused_data(served: Manifest, error: DataGateError) -> Alarm:
    """The alarm that nothing came through the data gate. It has not the value that is wrong: that may name a person."""
    return Alarm(
        signal=DATA_GATE,
        family="data",
        window_days=1,
        since=served.data.learned_until_at.isoformat(),
        until=served.data.learned_until_at.isoformat(),
        p_value=0.0,
        broken=True,
        says=f"The data gate lets nothing through: {error.failed}, expected {error.expected}.",
    )
