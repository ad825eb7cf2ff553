"""Keep a shop's work folder from growing for ever: of each stage's results, the newest few stay."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from core.layout import Layout
from core.storage import UNFINISHED
from flows.errors import DiskFull

KEPT_RESULTS = 3
KEPT_REPORTS = 20
ABANDONED_AFTER_S = 24 * 3600


def mark_used(result: Path) -> None:
    """Make a result that is used again count as new."""
    if result.exists():
        os.utime(result)


def prune(layout: Layout, kept: int = KEPT_RESULTS) -> list[Path]:
    """Remove all but the newest results of every stage; promoted bundles, the feature store and events stay.

    Args:
        kept: Results of each stage that stay.
    Returns:
        The folders that were removed.
    """
    root = layout.root
    stages = [root / name for name in ("raw", "clean", "training", "candidates", "baselines")]
    components = root / "components"
    if components.exists():
        stages += sorted(components.iterdir())
    removed = [folder for stage in stages for folder in _older_than_newest(stage, kept)]
    removed += _older_than_newest(layout.reports, KEPT_REPORTS)
    removed += [folder for stage in (*stages, layout.reports) for folder in _abandoned(stage)]
    for folder in removed:
        shutil.rmtree(folder)
    return removed


def require_room(layout: Layout, min_free_bytes: int) -> None:
    """Make sure that the disk has room for what a step writes: old results go first where it is short.

    Raises:
        DiskFull: that was not enough.
    """
    where = layout.root if layout.root.exists() else layout.work_dir
    where.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(where).free >= min_free_bytes:
        return
    prune(layout)
    free = shutil.disk_usage(where).free
    if free < min_free_bytes:
        raise DiskFull(
            "The flow stops for lack of room",
            got=f"free={free / 1e6:,.0f} MB",
            expected=f"at least {min_free_bytes / 1e6:,.0f} MB, which platform.min_free_bytes keeps free",
            where=str(where),
            do="Free room on this disk and run the flow again: what was done is kept",
        )


def _abandoned(stage: Path) -> list[Path]:
    """What killed processes left unfinished, long enough ago that nobody can still be writing it."""
    if not stage.exists():
        return []
    old = time.time() - ABANDONED_AFTER_S
    return [folder for folder in stage.glob(f".*{UNFINISHED}") if folder.is_dir() and folder.stat().st_mtime < old]


def _older_than_newest(stage: Path, keep: int) -> list[Path]:
    if not stage.exists():
        return []
    # A name that starts with a dot is a result that some process is still writing.
    folders = [folder for folder in stage.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)[keep:]
