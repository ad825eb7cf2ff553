"""Which shops are being served: the process that serves a shop's deployments holds a lock in the shop's folder.

The system gives the lock back when the process ends, however it ends, so a platform that was killed leaves none.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flows.errors import ShopTaken

_LOOK_S = 0.1
_LOOKS = 20  # a look of somebody else holds the lock for a moment


def lock_file(root: Path) -> Path:
    """The lock in a shop's folder; it says which process holds it, and the revision of the deployments."""
    return root / "served.lock"


@contextmanager
def serving(root: Path, revision: str) -> Iterator[None]:
    """Hold the lock of a shop.

    Raises:
        ShopTaken: another process holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with lock_file(root).open("a+", encoding="utf-8") as file:
        for look in range(_LOOKS):
            if _take(file, fcntl.LOCK_EX):
                break
            if look == _LOOKS - 1:
                raise _taken(root)
            time.sleep(_LOOK_S)
        file.truncate(0)
        json.dump({"process": os.getpid(), "revision": revision}, file)
        file.flush()
        yield


def is_served(root: Path) -> bool:
    """Whether some process serves the shop right now."""
    return _read(root) is not None


def serving_process(root: Path) -> int | None:
    """The process that serves the shop right now; None where none does, or it has not said yet."""
    process = (_read(root) or {}).get("process")
    return process if isinstance(process, int) else None


def served_revision(root: Path) -> str | None:
    """The revision of the deployments that some process serves for a shop right now; None where none does."""
    for _ in range(_LOOKS):
        held = _read(root)
        if held is None:
            return None
        if "revision" in held:
            return str(held["revision"])
        time.sleep(_LOOK_S)
    return None


def check_not_served(root: Path) -> None:
    """Make sure that no process serves the shop.

    Raises:
        ShopTaken: one does.
    """
    if is_served(root):
        raise _taken(root)


def check_no_other_server(work_dir: Path, port: int) -> None:
    """Make sure, before a Prefect server is started, that none runs on the work folder's database from another port.

    Raises:
        ShopTaken: a shop of the folder is served, so one does.
    """
    for file in sorted(work_dir.glob(f"*/{lock_file(work_dir).name}")):
        if is_served(file.parent):
            raise ShopTaken(
                "Cannot start a second Prefect server on one database",
                got=f"platform.prefect_port={port}, while shop {file.parent.name} is served from another port",
                expected="one server for each work folder",
                where=str(work_dir),
                do="Give the port of the platform that runs, to join it, or another work_dir",
            )


def _read(root: Path) -> dict[str, object] | None:
    """What the holder of the lock wrote, empty where it is about to; None where nobody holds it."""
    try:
        file = lock_file(root).open(encoding="utf-8")
    except FileNotFoundError:
        return None
    with file:
        if _take(file, fcntl.LOCK_SH):
            return None
        text = file.read()
    return dict(json.loads(text)) if text else {}


def _take(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken(root: Path) -> ShopTaken:
    held = _read(root) or {}
    return ShopTaken(
        "Cannot serve the shop",
        got=f"shop={root.name}, which process {held.get('process', 'of another platform')} serves",
        expected="a shop that no running platform serves",
        where=str(lock_file(root)),
        do="Stop that platform (Ctrl-C), or name another shop: --set shop=<name>",
    )
