"""The files that a process counts in, which have to have room for each label before the disk is full."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_ROOM_BYTES = 1 << 20
_KINDS = ("counter", "histogram", "summary", "gauge_mostrecent")
_COUNTED = ".db"
_LENGTH = slice(0, 4)  # where a file says how much of it is used
_HEAD_BYTES = 8


def reserve_room(folder: Path, process: int) -> None:
    """Make the files in which a process is going to count, with room for all labels of the service.

    Prometheus's client makes them small, and more room for them as labels come. Where the disk is full by then, it
    fails with each new label from then on, and so would the answer that is counted. What processes that are gone had
    reserved and not used is given back before; what they counted stays.

    Args:
        folder: Of the service's metrics.
        process: Its id.
    Raises:
        OSError: there is no room for them.
    """
    _give_back(folder)
    for kind in _KINDS:
        counted = folder / f"{kind}_{process}{_COUNTED}"
        if counted.exists():  # of one that is gone and had the same id
            _fill(counted)
            continue
        # Others read the folder's files meanwhile, and break over one that is empty.
        made = counted.with_suffix("")
        try:
            _fill(made)
        except OSError:
            made.unlink(missing_ok=True)
            raise
        made.rename(counted)


def _fill(path: Path) -> None:
    with path.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, _ROOM_BYTES)


def _give_back(folder: Path) -> None:
    for path in folder.iterdir():
        process = path.stem.rpartition("_")[2]
        if not process.isdecimal() or _is_alive(int(process)):
            continue
        with suppress(OSError):  # another process that starts was first
            if path.suffix != _COUNTED:
                path.unlink()
                continue
            with path.open("rb+") as file:
                used = max(int.from_bytes(file.read(_HEAD_BYTES)[_LENGTH], "little"), _HEAD_BYTES)
                if used < path.stat().st_size:
                    file.truncate(used)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True
