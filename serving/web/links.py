"""Where browsers find what an entry of the time line is about: its flow run and its report, where settings say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from core.logs.timeline import PAGE, Entry
from core.settings.platform import PlatformSettings

_RUN_ID = "flow_run_id"  # in the details of a run


def report_address(reports: str, page: Any) -> str:
    """The address of a report page.

    Args:
        reports: Where browsers find the shop's reports; empty where that is not known.
        page: Below them, as an entry names it; None, or empty, where it names none.
    """
    return f"{reports}/{quote(page)}" if reports and isinstance(page, str) and page else ""


def links_of(entry: Entry, platform: PlatformSettings) -> list[tuple[str, str]]:
    """What there is to open of an entry: words and address."""
    found = []
    if page := report_address(platform.page_of("reports"), entry.details.get(PAGE)):
        found.append(("Drift report" if entry.kind == "alarm" else "Evaluation report", page))
    prefect, run = platform.page_of("prefect"), entry.details.get(_RUN_ID)
    if prefect and isinstance(run, str) and run:
        found.append(("Flow run in Prefect", f"{prefect}/runs/flow-run/{quote(run)}"))
    return found


def links_along(entry: Entry, entries: Mapping[int, Entry], platform: PlatformSettings) -> list[tuple[str, str]]:
    """What there is to open of an entry and of what led to it: its evaluation, its run, the drift that it is for.

    Args:
        entries: Those that are known, by id.
    """
    found: dict[str, str] = {}
    step: Entry | None = entry
    while step is not None:
        for words, address in links_of(step, platform):
            found.setdefault(words, address)
        # An entry is younger than what led to it.
        step = entries.get(step.cause) if step.cause is not None and step.cause < step.id else None
    return list(found.items())
