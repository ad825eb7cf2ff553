"""How long a shop's rows are kept as they came: raw rows and quarantined rows go some days after they were read."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.layout import Layout
from core.quarantine.rows import QUARANTINE
from core.storage import UNFINISHED, whole_folders
from flows.in_use import reading_uses
from validation.raw.originals import read_originals, remove_originals


def expire_originals(layout: Layout, days: float) -> list[Path]:
    """Remove what was read longer ago than it is kept. That it is used again does not prolong its time.

    A raw folder goes as a whole: the next flow reads the source anew. One that a run uses at this moment is left to the
    run. Of a clean folder only the quarantine goes.

    Args:
        days: How long originals are kept; 0: no longer than the flow that read them.
    Returns:
        The folders whose originals were removed.
    """
    now = datetime.now(UTC)
    removed = []
    with reading_uses(layout) as (used, _):
        for folder in whole_folders(layout.raw("")):
            if folder not in used and _is_old(folder, days, now):
                hidden = folder.with_name(f".{folder.name}{UNFINISHED}")  # killed in between, it is no result any more
                folder.rename(hidden)
                with suppress(FileNotFoundError):  # another flow prunes it
                    shutil.rmtree(hidden)
                removed.append(folder)
        for folder in whole_folders(layout.clean("")):
            quarantine = folder / QUARANTINE
            if quarantine.is_dir() and _is_old(quarantine, days, now) and remove_originals(quarantine, days, now):
                removed.append(quarantine)
    return removed


def _is_old(folder: Path, days: float, now: datetime) -> bool:
    return now - read_originals(folder).read_at >= timedelta(days=days)
