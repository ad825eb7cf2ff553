"""Whom the service was asked to forget and no flow has removed yet: a file per shop, readable to its owner alone.

```
<shop>/to_forget.json   {"waiting": [{"user_id": "u10001"}]}
```
Removing a person takes the plain id, which a tombstone does not hold: it is kept here until the removal is done, and
nowhere after that.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from core.errors import SommelierError
from core.events import canonical_id
from core.settings.form import Frozen
from core.storage import UNFINISHED, atomic_file, exclusively, sync_folder
from core.tombstones import Tombstone, TombstoneError, bury, check_person, lift

_OWNER_ALONE = 0o600


class RemovalError(SommelierError):
    """Who waits to be removed cannot be read or written, or the person not be buried."""


class Waiting(Frozen):
    """One person who waits to be removed, by the id as it was given."""

    user_id: str


class _Queue(Frozen):
    waiting: tuple[Waiting, ...] = ()


def request_removal(file: Path, forgotten: Path, user_id: str) -> Tombstone:
    """Bury a person, and have the next flow remove them; both are on the disk when this returns.

    The id is kept first: whoever is buried by a process that is killed in here is removed too.

    Args:
        file: The shop's, which may not exist yet.
        forgotten: The shop's record of who is forgotten.
    Raises:
        RemovalError: one of the files cannot be read or written, or the id is none.
    """
    try:
        check_person(user_id)
        with exclusively(_lock(file)):
            waiting = _read(file).waiting
            if not any(_is_same(one, user_id) for one in waiting):
                _write(file, (*waiting, Waiting(user_id=user_id)))
            return bury(forgotten, user_id)
    except (OSError, TombstoneError) as error:
        raise RemovalError(
            "Cannot keep that somebody is to be forgotten",
            got=str(error),
            expected="files that can be read and written",
            where=str(file),
            do="Ask again later",
        ) from error


def read_waiting(file: Path) -> tuple[str, ...]:
    """The ids of everybody who waits to be removed, first come first.

    Raises:
        RemovalError: the file is there and cannot be read.
    """
    return tuple(one.user_id for one in _read(file).waiting)


def end_waiting(file: Path, user_id: str) -> None:
    """Remove an id that waits no more, also from what a killed process left half written."""
    if file.exists() or _left_unfinished(file):
        with exclusively(_lock(file)):
            _drop(file, user_id)


def withdraw_removal(file: Path, forgotten: Path, user_id: str) -> Tombstone | None:
    """Take a person's tombstone away, and have no flow remove them; None where there is no tombstone."""
    with exclusively(_lock(file)):
        _drop(file, user_id)
        return lift(forgotten, user_id)


def keeps_waiting(path: Path, file: Path) -> bool:
    """Whether a path is the file of those who wait, or one that is written to become it."""
    return path.parent == file.parent and path.name.removeprefix(".").startswith(file.name)


def _drop(file: Path, user_id: str) -> None:
    """The caller holds the lock, so that nobody is writing what is unfinished."""
    for left in _left_unfinished(file):
        left.unlink(missing_ok=True)
    before = _read(file).waiting
    after = tuple(one for one in before if not _is_same(one, user_id))
    if after:
        if after != before:
            _write(file, after)
        return
    file.unlink(missing_ok=True)
    sync_folder(file.parent)


def _is_same(waiting: Waiting, user_id: str) -> bool:
    return canonical_id(waiting.user_id) == canonical_id(user_id)


def _left_unfinished(file: Path) -> list[Path]:
    return list(file.parent.glob(f".{file.name}.*{UNFINISHED}"))


def _read(file: Path) -> _Queue:
    try:
        return _Queue.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _Queue()
    except (OSError, ValueError) as error:
        words = f"{error.error_count()} wrong fields" if isinstance(error, ValidationError) else str(error)
        raise RemovalError(
            "Cannot read who waits to be removed",
            got=f"file={words}",
            expected="JSON as the service writes it",
            where=str(file),
            do="Put it back from a backup; who is in it has to be removed: sommelier forget USER",
        ) from error


def _write(file: Path, waiting: tuple[Waiting, ...]) -> None:
    with atomic_file(file) as temporary:
        temporary.touch(mode=_OWNER_ALONE)
        temporary.write_text(_Queue(waiting=waiting).model_dump_json(indent=2) + "\n", encoding="utf-8")


def _lock(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")
