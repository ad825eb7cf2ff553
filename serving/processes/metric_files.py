"""The files that a process counts in, which have to have room for each label before the disk is full."""

from __future__ import annotations

import os
from pathlib import Path

_ROOM_BYTES = 1 << 20
_KINDS = ("counter", "histogram", "summary", "gauge_mostrecent")


def reserve_room(folder: Path, process: int) -> None:
    """Make the files in which a process is going to count, with room for all labels of the service.

    Prometheus's client makes them small, and more room for them as labels come. Where the disk is full by then, it
    fails with each new label from then on, and so would the answer that is counted.

    Args:
        folder: Of the service's metrics.
        process: Its id.
    Raises:
        OSError: there is no room for them.
    """
    for kind in _KINDS:
        # Others read the folder's files meanwhile, and break over one that is empty.
        made = folder / f"{kind}_{process}"
        with made.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM_BYTES)
        made.rename(made.with_suffix(".db"))
