"""Atomic writes: a reader sees a whole file or folder, or none; when a write returns, it is on the disk.

And listings of folders from which others may remove at any moment: what is gone by then is left out.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

UNFINISHED = ".unfinished"  # ends the name of what is still being written
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_FULL = (errno.ENOSPC, errno.EDQUOT)
# How DuckDB, Arrow, safetensors, SQLite and PostgreSQL say it.
_FULL_WORDS = re.compile(r"no space left on device|quota exceeded|disk is full|os error 28\b", re.IGNORECASE)


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

    A folder that already stands at `target` is replaced, and at no moment is there none; an exception leaves it as it
    was. Only on a file system that cannot exchange two names, such as NFS, there is none for a moment: a reader then
    finds nothing, and who makes it makes it again.
    """
    temporary = _unfinished(target)
    temporary.mkdir()
    try:
        yield temporary
        sync_tree(temporary)
        _put_folder(temporary, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """Give an empty folder that is gone when the block ends.

    What a killed process left there is below the shop's folder, named as unfinished: pruning and forgetting find it.

    Args:
        beside: Names the folder's parent, and the beginning of its own name; nothing has to be there.
    """
    temporary = _unfinished(beside)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(target: Path) -> None:
    """Remove a folder whose name stands for something whole: first the name, in one step, then what is in it."""
    doomed = _unfinished(target)
    try:
        target.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is no folder, or none any more."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def whole_folders(place: Path) -> list[Path]:
    """The folders in a place, by name; one whose name begins with a dot is still being written or removed."""
    return [folder for folder in list_folder(place) if folder.is_dir() and not folder.name.startswith(".")]


def newest_first(paths: Iterable[Path]) -> dict[Path, float]:
    """When each path was changed, in seconds since 1970, the newest first; without those that are gone."""
    changed: dict[Path, float] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            changed[path] = path.stat().st_mtime
    return dict(sorted(changed.items(), key=lambda one: one[1], reverse=True))


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, is that the disk is full, in the words of whoever wrote to it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if _FULL_WORDS.search(str(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _put_folder(made: Path, target: Path) -> None:
    """Give a folder its name, also where another one has it; what had it may be left at the other's name."""
    try:
        made.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(made, target):
            replaced = _unfinished(target)
            target.rename(replaced)
            made.rename(target)
            shutil.rmtree(replaced, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


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


def is_held(lock: Path) -> bool:
    """Whether somebody holds a lock on a file exclusively at this moment; False where the file is gone."""
    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


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
