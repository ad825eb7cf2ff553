"""Atomic writes: a reader sees a whole file or folder, or none; when a write returns, it is on the disk."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

UNFINISHED = ".unfinished"  # ends the name of what is still being written


def _unfinished(target: Path) -> Path:
    folder = target.parent
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        sync_folder(one.parent)
    return folder / f".{target.name}.{uuid4().hex[:8]}{UNFINISHED}"


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`, and rename it onto `target` when the block ends well."""
    temporary = _unfinished(target)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `target`, and rename it onto `target` when the block ends well.

    A folder that already stands at `target` is replaced; an exception leaves it as it was.
    """
    temporary = _unfinished(target)
    temporary.mkdir()
    try:
        yield temporary
        sync_tree(temporary)
        replaced = _unfinished(target)
        if target.exists():
            target.rename(replaced)
        temporary.rename(target)
        sync_folder(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_file(target) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a rename in it lasts from then on."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(root: Path) -> None:
    """Bring every file and folder below `root` to the disk, so that something may point at it."""
    for folder, _, files in os.walk(root):
        for name in files:
            with (Path(folder) / name).open("rb") as written:
                os.fsync(written.fileno())
        sync_folder(Path(folder))


@contextmanager
def exclusively(lock: Path) -> Iterator[None]:
    """Hold a lock on a file, made if missing; the system gives it back when the process ends, however it ends.

    Each call has a handle of its own, so threads exclude each other too.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def together(lock: Path) -> Iterator[None]:
    """Hold a lock that others may hold at the same time, but nobody who holds it exclusively."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(*parts: Any) -> str:
    """A short key for JSON-able parts: 16 hexadecimal digits of their SHA-256."""
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
