"""Put an earlier bundle back in service."""

from __future__ import annotations

from prefect import flow, get_run_logger

from core.layout import Layout
from core.logs.audit import audited
from flows.environment import current_settings
from flows.loop.changes import record_changes
from flows.params import RollbackParams
from flows.promotion.model_store import roll_back
from flows.pruning import saying_full
from flows.reporting.traces import traced


@flow(name="rollback", log_prints=False)
@traced
def rollback(params: RollbackParams) -> str:
    """Put an earlier bundle back in service and withdraw what came after it; the service swaps to it by itself.

    Args:
        params: The shop, and the version or the number of steps to go back to.
    Raises:
        NothingInService: there is no such version.
    """
    layout = Layout(current_settings().work_dir, params.shop)
    to = {"to": params.version} if params.version else {"steps": str(params.steps)}
    with saying_full(), audited(layout.audit, "flow rollback", **to) as details:
        version = roll_back(layout.model_name, params.version, params.reason, steps=params.steps)
        details["version"] = version.version
        record_changes(layout)
    get_run_logger().info("In service again: %s", version.tag)
    return version.tag
