"""A folder for the metrics of one running service: its processes count there together, and no other service does.

BentoML gives all services of a model store one folder, and empties it whenever one starts.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

_LOCK = ".lock"


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """Make a folder, removed at the end; those of services that were killed go at the next start.

    A service holds a lock beside its folder, which the system gives back however its process ends.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _remove_left(parent)
    folder = parent / uuid4().hex[:12]
    with folder.with_suffix(_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder)


def _remove_left(parent: Path) -> None:
    for file in parent.glob(f"*{_LOCK}"):
        with suppress(FileNotFoundError), file.open("w") as lock:
            if _is_free(lock):
                _remove(file.with_suffix(""))


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(_LOCK).unlink(missing_ok=True)
