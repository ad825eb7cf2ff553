"""Put an earlier bundle back in service."""

from __future__ import annotations

from prefect import flow, get_run_logger

from core.layout import Layout
from flows.environment import current_settings
from flows.params import RollbackParams
from flows.promotion.model_store import roll_back
from flows.pruning import saying_full


@flow(name="rollback", log_prints=False)
def rollback(params: RollbackParams) -> str:
    """Put an earlier bundle back in service and withdraw what came after it; the service swaps to it by itself.

    Args:
        params: The shop, and the version or the number of steps to go back to.
    Raises:
        NothingInService: there is no such version.
    """
    layout = Layout(current_settings().work_dir, params.shop)
    with saying_full():
        version = roll_back(layout.model_name, params.version, params.reason, steps=params.steps)
    get_run_logger().info("In service again: %s", version.tag)
    return version.tag
