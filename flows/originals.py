"""How long a shop's rows are kept as they came: raw rows and quarantined rows go some days after they were read."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.layout import Layout
from core.quarantine.rows import QUARANTINE
from core.storage import UNFINISHED
from validation.raw.originals import read_originals, remove_originals

# A raw folder that was used so lately may be read by another flow at this moment.
IN_USE_S = 3600.0


def expire_originals(layout: Layout, days: float, own: tuple[Path, float] | None = None) -> list[Path]:
    """Remove what was read longer ago than it is kept. That it is used again does not prolong its time.

    A raw folder goes as a whole: the next flow reads the source anew. Of a clean folder only the quarantine goes.

    Args:
        days: How long originals are kept; 0: no longer than the flow that read them.
        own: The caller's raw folder, of which it is done, and when the caller began to use it; where another has begun
            since, the folder is left to that one.
    Returns:
        The folders whose originals were removed.
    """
    now = datetime.now(UTC)
    removed = []
    for folder in _folders(layout.raw("")):
        if _is_old(folder, days, now) and not _is_in_use(folder, own):
            hidden = folder.with_name(f".{folder.name}{UNFINISHED}")  # killed in between, it is no result any more
            folder.rename(hidden)
            shutil.rmtree(hidden)
            removed.append(folder)
    for folder in _folders(layout.clean("")):
        quarantine = folder / QUARANTINE
        if quarantine.is_dir() and _is_old(quarantine, days, now) and remove_originals(quarantine, days, now):
            removed.append(quarantine)
    return removed


def _folders(stage: Path) -> Iterator[Path]:
    if stage.is_dir():
        yield from (folder for folder in sorted(stage.iterdir()) if folder.is_dir() and not folder.name.startswith("."))


def _is_old(folder: Path, days: float, now: datetime) -> bool:
    return now - read_originals(folder).read_at >= timedelta(days=days)


def _is_in_use(folder: Path, own: tuple[Path, float] | None) -> bool:
    used_at = folder.stat().st_mtime
    if own is not None and folder == own[0]:
        return used_at > own[1]
    return time.time() - used_at < IN_USE_S
