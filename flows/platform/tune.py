"""`sommelier tune`: a search on the platform that is up, or else with a Prefect server of its own until it is done."""

from __future__ import annotations

from collections.abc import Callable

from core.settings.tree import Settings
from flows.params import TuneParams
from flows.platform.single_run import run_once


def run_search(settings: Settings, show: Callable[[str], None]) -> None:
    """Run the `tune` deployment and show its log as it grows; a search that was stopped goes on where it was.

    Args:
        settings: The resolved settings.
        show: Called with each line of progress.
    Raises:
        SourceError: the source is not there, or not as the settings say; nothing was started then.
        PortTaken: something that is not this shop's platform listens on the Prefect server's port.
        ShopTaken: this shop's platform runs, and has its Prefect server at another port.
        PartFailed, RunFailed: a part could not start, or the search failed.
    """
    from validation.sources.ingest import check_source

    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    check_source(settings.recipe.source)
    params = TuneParams(shop=settings.shop, recipe=settings.recipe, search=settings.search)
    run_once(settings, "tune", {"params": params.model_dump(mode="json")}, show, "searching")
