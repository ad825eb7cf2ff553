"""Answering a run that waits for approval, from a command."""

from __future__ import annotations

from core.layout import Layout
from core.settings.tree import Settings
from flows.loop.approvals import answer
from flows.platform.notifications import on_server
from flows.promotion.approvals import Waiting, find_waiting


def answer_run(settings: Settings, run: str, *, approve: bool, comment: str, by: str) -> Waiting:
    """Approve or refuse what a run of the shop waits with; the platform, or a worker, goes on with the run.

    Args:
        settings: Say which shop, and where its Prefect server is.
        run: Its name, or the beginning of its id; empty for the only one that waits.
        comment: Kept with the decision.
        by: Who answers.
    Raises:
        NothingWaits: no such run waits.
        NotRunning: the Prefect server does not answer.
    """
    waiting = find_waiting(Layout(settings.work_dir, settings.shop), run)
    with on_server(settings, "Cannot answer for a run"):
        answer(waiting, approve=approve, comment=comment, by=by)
    return waiting
