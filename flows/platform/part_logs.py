"""The files that the parts' output goes to: they go on over restarts, and never grow without end."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 10_000_000
KEPT = 3  # older files beside the newest


def open_log(path: Path) -> BinaryIO:
    """A log to append to, with a line that says when this start was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rotate(path)
    output = path.open("ab")
    output.write(f"== started {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC ==\n".encode())
    output.flush()
    return output


def rotate(path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> bool:
    """Move what a log that has grown too large holds to `<name>.1`, and older ones one further; the oldest goes.

    A part has the file open and goes on writing to it, so that it is copied and emptied, not renamed.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    for number in range(kept - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True


def last_lines(path: Path, count: int, after: int = 0) -> list[str]:
    """The last lines of a log.

    Args:
        after: Bytes at its begin that are left out: those of earlier starts.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(after if after <= size else 0, size - 65_536))
        return file.read().decode("utf-8", errors="replace").splitlines()[-count:]
