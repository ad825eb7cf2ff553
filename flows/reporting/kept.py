"""Which of a shop's report pages stay: whatever something still points at, and of the others the newest.

An evaluation's page is pointed at by what the gate said on the time line, by every bundle that could serve again, by
experiments and by what waits for approval; a look's page by its alarms; Data Docs by the tables they are about, and by
a page of the same validation that stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.experiments import read_experiments
from core.layout import Layout
from core.logs.timeline import PAGE, Kind, Timeline
from core.promotions import list_versions
from core.storage import newest_first, remove_folder, whole_folders
from flows.promotion.approvals import list_waiting
from flows.reporting.reports import DATA_DOCS, DRIFT, EVALUATIONS, files_of, list_pages, write_index

_POINTING: tuple[Kind, ...] = ("gate", "alarm")
_MANY = 100_000
_SUBJECT_CHARS = 16  # of a digest, which the gate's entries are about
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pointed:
    """What is pointed at.

    Attributes:
        pages: Below the shop's reports.
        bundles: Digests of bundles whose evaluations are wanted.
        judged: The beginnings of digests that the gate's entries are about which name no page, as earlier versions'.
        validations: Keys of validations whose Data Docs are wanted.
    """

    pages: frozenset[str]
    bundles: frozenset[str]
    judged: frozenset[str]
    validations: frozenset[str]

    def holds(self, page: Path, reports: Path) -> bool:
        """Whether anything points at a page."""
        is_of_wanted = page.stem in self.bundles or page.stem[:_SUBJECT_CHARS] in self.judged
        return (page.parent.name == EVALUATIONS.name and is_of_wanted) or page.relative_to(
            reports
        ).as_posix() in self.pages


def find_pointed(layout: Layout) -> Pointed:
    """What points at report pages at this moment.

    Raises:
        TimelineError: the time line cannot be read.
        ExperimentError: the record of experiments cannot be read.
    """
    entries = Timeline(layout.timeline).read(_POINTING, limit=_MANY)
    return Pointed(
        pages=frozenset(page for entry in entries if isinstance(page := entry.details.get(PAGE), str)),
        bundles=frozenset(digest for digest in _bundles(layout) if digest),
        judged=frozenset(entry.subject for entry in entries if entry.kind == "gate" and PAGE not in entry.details),
        validations=frozenset(folder.name for folder in whole_folders(layout.clean(""))),
    )


def prune_reports(layout: Layout, n_docs: int, n_pages: int) -> list[Path]:
    """Remove the pages that nothing points at, but for the newest; the index links what is left.

    Args:
        layout: Of the shop.
        n_docs: Validations whose Data Docs stay, the newest.
        n_pages: Pages of evaluations that stay beside those that are pointed at, the newest of all validations, and as
            many of looks.
    Returns:
        The folders that were removed.
    Raises:
        TimelineError, ExperimentError: what points at pages cannot be read; nothing is removed.
    """
    pointed, folders = find_pointed(layout), list(newest_first(whole_folders(layout.reports)))
    held: set[Path] = set()
    gone = []
    for kind in (DRIFT, EVALUATIONS):
        pages = list(newest_first(page for folder in folders for page in list_pages(folder, kind)))
        held |= {page.parent.parent for page in pages if pointed.holds(page, layout.reports)}
        gone += [page for page in pages if not pointed.holds(page, layout.reports)][n_pages:]
    for page in gone:
        for file in files_of(page):
            file.unlink(missing_ok=True)
    removed = []
    for folder in folders[n_docs:]:
        if folder in held or folder.name in pointed.validations:
            continue
        has_pages = any(list_pages(folder, kind) for kind in (DRIFT, EVALUATIONS))
        doomed = folder / DATA_DOCS.parent if has_pages else folder
        if doomed.exists():
            remove_folder(doomed)
            removed.append(doomed)
    if gone or removed:
        try:
            write_index(layout)
        except OSError as error:
            logger.warning("The index of the reports links pages that were removed: %s", error)
    return removed


def _bundles(layout: Layout) -> Iterator[str]:
    """Digests of bundles that serve, could serve again, are tried or wait, and of those that were judged for them."""
    for version in list_versions(layout.model_name):
        yield from (version.digest, version.judged)
    for experiment in read_experiments(layout.model_name).running:
        for variant in experiment.variants:
            yield from (variant.bundle.digest, variant.bundle.judged)
    for waiting in list_waiting(layout):
        yield from (waiting.digest, str(waiting.parts["candidate"].value) if "candidate" in waiting.parts else "")
