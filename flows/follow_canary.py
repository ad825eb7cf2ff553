"""Follow the canary that the gate started: grow, withdraw or promote it by its live figures."""

from __future__ import annotations

from prefect import flow, get_run_logger

from core.layout import Layout
from flows.environment import current_settings
from flows.loop.approvals import end_late_approvals
from flows.loop.canary import follow_newest
from flows.loop.judgements import settle_lost_canaries
from flows.loop.notices import tell
from flows.loop.runs import recorded
from flows.params import CanaryParams
from flows.pruning import RECORDED_HOOKS, pruned
from flows.reporting.traces import traced


@flow(name="follow-canary", log_prints=False, **RECORDED_HOOKS)
@traced
@pruned
@recorded
def follow_canary(params: CanaryParams) -> str:
    """Decide by its live figures what becomes of the canary that runs, if one does, and do it; and have runs end that
    nobody approved in time, and told what nobody was told of yet.

    Args:
        params: The shop.
    Returns:
        What was done: grow, hold, withdraw or promote; nothing where no canary runs.
    """
    settings = current_settings()
    layout = Layout(settings.work_dir, params.shop)
    for late in end_late_approvals(layout):
        get_run_logger().info("%s waits for approval no more.", late.run)
    for gate in settle_lost_canaries(layout):
        get_run_logger().info("%s: %s", gate.subject, gate.says)
    tell(layout)
    decided = follow_newest(layout, settings.loop.canary, settings.serving.experiments)
    if decided is None:
        get_run_logger().info("No canary that the gate started runs.")
        return "nothing"
    get_run_logger().info("%s: %s", decided.action, decided.reason)
    return decided.action
