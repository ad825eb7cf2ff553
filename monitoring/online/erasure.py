"""Taking users out of exports of the prediction log, of what is kept of it for experiments, and of shared figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from core.logs.predictions import EXPORTED
from core.logs.pruning import PRUNING_LOCK
from core.storage import atomic_file, exclusively, sync_folder, whole_folders
from monitoring.online.figures import SHARED_FILE, SHARED_LOCK
from monitoring.online.kept import KEPT, remove_unfinished, whole_files

_WHO = ("user_id", "visitor_id")


def erase_exported(log: Path, is_gone: Callable[[str], bool]) -> int:
    """Rewrite what was exported into the log's own folder without the rows of users or visitors; how many went.

    Args:
        log: The folder of the prediction log.
        is_gone: Whether a user's or a visitor's rows go.
    """
    return sum(_erase_rows(file, is_gone) for file in sorted((log / EXPORTED).glob("*.parquet")))


def erase_kept(log: Path, is_gone: Callable[[str], bool]) -> int:
    """Rewrite what is kept for experiments without the rows of users or visitors; how many went.

    Called behind `erase_predictions`: whatever is taken from a segment afterwards has nothing of theirs.

    Args:
        log: The folder of the prediction log.
        is_gone: Whether a user's or a visitor's rows go.
    """
    if not (log / KEPT).is_dir():
        return 0
    with exclusively(log / PRUNING_LOCK):
        folders = whole_folders(log / KEPT)
        for folder in folders:
            remove_unfinished(folder)
        return sum(_erase_rows(file, is_gone) for folder in folders for file in whole_files(folder))


def erase_figures(log: Path) -> None:
    """Remove the figures of experiments that workers of the service share; they are computed anew from what is left.

    Called behind what they are computed from: whoever is at it, and has read it before, is waited for.

    Args:
        log: The folder of the prediction log.
    """
    if not (log / SHARED_LOCK).exists():
        return  # none were computed ever
    with exclusively(log / SHARED_LOCK):
        if (log / SHARED_FILE).exists():
            (log / SHARED_FILE).unlink()
            sync_folder(log)


def _erase_rows(file: Path, is_gone: Callable[[str], bool]) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table, found = pq.read_table(file), file.stat()
    out = pa.array([False] * table.num_rows, pa.bool_())
    for name in _WHO:
        theirs = [one for one in table.column(name).unique().to_pylist() if one is not None and is_gone(one)]
        out = pc.or_(out, pc.is_in(table.column(name), value_set=pa.array(theirs, pa.string())))
    gone = int(pc.sum(out).as_py() or 0)
    if gone:
        with atomic_file(file) as temporary:
            pq.write_table(table.filter(pc.invert(out)), temporary, compression="zstd")
            os.utime(temporary, ns=(found.st_atime_ns, found.st_mtime_ns))
    return gone
