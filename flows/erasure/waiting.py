"""People whom the service was asked to forget: flows remove them before they do anything else."""

from __future__ import annotations

from prefect import get_run_logger

from core.layout import Layout
from core.removals import read_waiting
from flows.environment import current_settings
from flows.erasure.receipts import Receipt
from flows.erasure.removal import remove_person


def remove_waiting(shop: str) -> list[Receipt]:
    """Remove everybody who waits for it. Who cannot be removed whole goes on waiting, and the log says where they are.

    To be called before a run has read anything: who is forgotten later stops it.

    Args:
        shop: Below this process's work folder.
    Raises:
        RemovalError, FeatureError, EventLogError: a file or a store cannot be read or written; who was not removed
            goes on waiting.
    """
    settings = current_settings()
    layout = Layout(settings.work_dir, shop)
    receipts = []
    for user_id in read_waiting(layout.to_forget):
        log = get_run_logger()
        receipt = remove_person(layout, settings.feature_store, user_id, log.info)
        if receipt.search is not None and receipt.search.left:
            left = ", ".join(receipt.search.left)
            log.warning("Receipt %d: not everything of a person could be removed, left in %s", receipt.number, left)
        receipts.append(receipt)
    return receipts
