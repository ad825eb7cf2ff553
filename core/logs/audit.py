"""Who changed what of a shop that is served, and who looked at what: JSON lines in its folder, each on the disk before
the work goes on.

```
<shop>/audit_reads.jsonl   the same of what was only looked at or exported
<shop>/audit.jsonl   {"id": "5f0c…", "at": …, "who": "user:ann", "what": "rollback", "details": {…}, "outcome": "begun"}
                     {"id": "5f0c…", "at": …, "who": "user:ann", "what": "rollback", "details": {…}, "outcome": "done"}
```
What is done has two lines: one before it begins, one that says how it ended. One that has the first alone was killed,
or is still at work. Lines are only added; a file that has grown to `MAX_BYTES` moves to `audit.jsonl.1`, and the oldest
of them goes. No line holds a user's id, or anything that is secret.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getuser
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from core.errors import SommelierError
from core.storage import exclusively, sync_folder

logger = logging.getLogger(__name__)
MAX_BYTES = 5_000_000
N_KEPT = 4  # files beside the newest
BEGUN, DONE = "begun", "done"


class AuditError(SommelierError):
    """What is about to be done cannot be recorded, and so is not done."""


class Act(BaseModel):
    """Something that somebody did, or a line about it.

    Attributes:
        id: Of all lines about it.
        at: When it began, or when the line was written; ISO 8601, UTC.
        who: `user:` and a name of this machine, `key:` and the id of an API key, or `local` without one.
        what: The command or the request.
        details: What it was done to.
        outcome: `begun`, `done`, `status …` of a request, or `failed: ` and the kind of error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    at: str
    who: str
    what: str
    details: dict[str, str] = Field(default_factory=dict)
    outcome: str = BEGUN


@contextmanager
def audited(file: Path, what: str, who: str = "", **details: str) -> Iterator[dict[str, str]]:
    """Record what the block does: before it begins, and how it ended. An end that cannot be recorded is logged, and
    fails nobody: the block has changed what it changes.

    A shop without a folder has nothing to change: what fails there leaves no line, and no folder.

    Args:
        file: The shop's.
        what: The command.
        who: See `Act`; by default the user of this machine.
        details: What it is done to.
    Returns:
        Further details, to be filled in the block.
    Raises:
        AuditError: it cannot be recorded; the block does not begin.
    """
    act = begin(file, what, who or local_user(), details) if file.parent.is_dir() else None
    found: dict[str, str] = {}
    outcome = DONE
    try:
        yield found
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}"
        raise
    finally:
        try:
            if act is None and file.parent.is_dir():
                act = begin(file, what, who or local_user(), details)
            if act is not None:
                end(file, act, outcome, found)
        except AuditError as error:
            logger.error("%s has ended (%s), which is not on record: %s, in %s", what, outcome, error.got, file)


def begin(file: Path, what: str, who: str, details: dict[str, str] | None = None) -> Act:
    """Record that something is about to be done; the line is on the disk when this returns.

    Raises:
        AuditError: it cannot be written.
    """
    act = Act(id=secrets.token_hex(6), at=_now(), who=who, what=what, details=details or {})
    _append(file, act)
    return act


def end(file: Path, act: Act, outcome: str, details: dict[str, str] | None = None) -> None:
    """Record how it ended.

    Raises:
        AuditError: it cannot be written.
    """
    after = {"at": _now(), "outcome": outcome, "details": {**act.details, **(details or {})}}
    _append(file, act.model_copy(update=after))


def read_acts(file: Path) -> list[Act]:
    """All that was recorded, in the order in which it began, each with how it ended.

    Lines that were cut short by a kill are passed over.
    """
    return [*newest_acts(file)][::-1]


def newest_acts(file: Path) -> Iterator[Act]:
    """The same from the newest to the oldest; reads only as far back as acts are taken."""
    given: set[str] = set()  # a file that is moved aside meanwhile is read again
    ended: dict[str, Act] = {}
    for line in _lines_backwards(file):
        try:
            act = Act.model_validate_json(line)
        except ValueError:
            continue
        if act.id in given:
            continue
        ended.setdefault(act.id, act)
        if act.outcome == BEGUN:
            given.add(act.id)
            yield ended.pop(act.id).model_copy(update={"at": act.at})
    yield from ended.values()  # whose first line went with its file


def local_user() -> str:
    """Whoever runs this process, as `Act.who` says it."""
    try:
        return f"user:{getuser()}"
    except (KeyError, OSError):
        return f"user:{os.getuid()}"  # a container's user may have no name


def _lines_backwards(file: Path) -> Iterator[str]:
    for one in (file, *_older(file)):
        try:
            yield from reversed(one.read_text(encoding="utf-8", errors="replace").splitlines())
        except FileNotFoundError:
            continue


def _older(file: Path) -> list[Path]:
    """Where full files move to, the newest first."""
    return [file.with_name(f"{file.name}.{number}") for number in range(1, N_KEPT + 1)]


def _append(file: Path, act: Act) -> None:
    line = json.dumps(act.model_dump(), ensure_ascii=True).encode() + b"\n"
    try:
        with exclusively(file.with_name(f"{file.name}.lock")):
            _make_room(file)
            is_new = not file.exists()
            with file.open("ab+") as log:
                if log.tell():
                    log.seek(-1, os.SEEK_END)
                    if log.read(1) != b"\n":  # a kill cut the line before short
                        line = b"\n" + line
                log.write(line)
                log.flush()
                os.fsync(log.fileno())
            if is_new:
                sync_folder(file.parent)
    except OSError as error:
        raise AuditError(
            f"Cannot record {act.what}",
            got=f"error={error.strerror or error}",
            expected="a log that can be written",
            where=str(file),
            do="Correct that and try again; nothing is done without a record",
        ) from error


def _make_room(file: Path) -> None:
    """Move a full file aside, and those before it one further."""
    if not file.exists() or file.stat().st_size < MAX_BYTES:
        return
    places = [file, *_older(file)]
    for place, further in reversed(list(pairwise(places))):
        if place.exists():
            place.replace(further)
    sync_folder(file.parent)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
