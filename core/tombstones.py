"""Who is forgotten: a file per shop of salted hashes, which everything that takes in a person's data asks.

```
<shop>/forgotten.json   {"salt": …, "generation": 2, "forgotten": [{"person": <hash>, "at": …, "receipt": 1}]}
```
The file holds no id. Who has it can ask of an id that they know whether it is forgotten, as every reader does; of the
hashes alone nothing but a guess leads back to an id. The salt is the shop's own, so that two shops' hashes of one
person differ.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from core.errors import SommelierError
from core.events import bad_id, canonical_id
from core.settings.form import Frozen
from core.sql import literal
from core.storage import digest_of, exclusively, write_json

_SALT_BYTES = 16

IsForgotten = Callable[[str], bool]


class TombstoneError(SommelierError):
    """The record of who is forgotten cannot be read, or an id is none that can be forgotten."""


def nobody(_: str) -> bool:
    """Whether a user is forgotten, where there is no record of it."""
    return False


class Tombstone(Frozen):
    """One person who is forgotten.

    Attributes:
        person: The salted hash of the id.
        at: Since when, ISO 8601, UTC.
        receipt: The number of the receipt that says what was removed.
    """

    person: str
    at: str
    receipt: int


class Tombstones(Frozen):
    """Everybody who is forgotten in a shop, as one read of the record has it.

    Attributes:
        salt: Hexadecimal; empty where nobody ever was.
        generation: Counts the changes of the record, and never goes back.
        receipts: How many receipts were numbered.
    """

    salt: str = ""
    generation: int = 0
    receipts: int = 0
    forgotten: tuple[Tombstone, ...] = ()

    def hash_of(self, user_id: str) -> str:
        """The salted hash of a user, however the id is written."""
        return sha256(f"{self.salt}{canonical_id(user_id)}".encode()).hexdigest()

    def find(self, user_id: str) -> Tombstone | None:
        """The user's tombstone, None for one who is not forgotten."""
        return self._by_person.get(self.hash_of(user_id)) if self.forgotten else None

    def holds(self, user_id: str) -> bool:
        """Whether a user is forgotten."""
        return self.find(user_id) is not None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy that finds those whom it holds itself."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_by_person", None)
        return copied

    @cached_property
    def _by_person(self) -> dict[str, Tombstone]:
        return {one.person: one for one in self.forgotten}

    def sql(self, canonical: str) -> str:
        """DuckDB's SQL that is true where an expression, a canonical id as text, is that of somebody forgotten."""
        if not self.forgotten:
            return "false"
        hashes = ", ".join(literal(one.person) for one in self.forgotten)
        return f"coalesce(sha256({literal(self.salt)} || ({canonical})) IN ({hashes}), false)"

    @property
    def key(self) -> str:
        """Stands for the record in the keys of what is made with it; empty where nobody was ever forgotten."""
        return digest_of(self.generation, sorted(one.person for one in self.forgotten)) if self.generation else ""


def read_tombstones(file: Path | None) -> Tombstones:
    """Everybody who is forgotten; nobody where there is no file.

    Raises:
        TombstoneError: the file is there and cannot be read: nobody may then be taken for not forgotten.
    """
    if file is None:
        return Tombstones()
    try:
        return Tombstones.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Tombstones()
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> TombstoneError:
    words = f"{error.error_count()} wrong fields" if isinstance(error, ValidationError) else str(error)
    return TombstoneError(
        "Cannot read who is forgotten",
        got=f"record={words}",
        expected="JSON as `sommelier forget` writes it",
        where=str(file),
        do="Put it back from a backup; without it everybody in it would be taken in again",
    )


def check_person(user_id: str) -> None:
    """See that an id is one that can be forgotten.

    Raises:
        TombstoneError: it is blank, too long, or broken.
    """
    if broken := bad_id(canonical_id(user_id)):
        raise TombstoneError(
            "Cannot forget", got=f"user={user_id[:60]!r}", expected=broken, do="Give the shop's id of the user"
        )


def bury(file: Path, user_id: str) -> Tombstone:
    """Make sure that a user has a tombstone, which is on the disk when this returns.

    Raises:
        TombstoneError: the id is none.
    """
    check_person(user_id)
    with exclusively(_lock(file)):
        before = read_tombstones(file)
        if not before.salt:
            before = before.model_copy(update={"salt": secrets.token_hex(_SALT_BYTES)})
        if found := before.find(user_id):
            return found
        at, number = datetime.now(UTC).isoformat(timespec="seconds"), before.receipts + 1
        stone = Tombstone(person=before.hash_of(user_id), at=at, receipt=number)
        _write(file, before, (*before.forgotten, stone), number)
        return stone


def lift(file: Path, user_id: str) -> Tombstone | None:
    """Take a user's tombstone away; None where there is none."""
    with exclusively(_lock(file)):
        before = read_tombstones(file)
        found = before.find(user_id)
        if found is not None:
            _write(file, before, tuple(one for one in before.forgotten if one != found), before.receipts)
        return found


class TombstoneFile:
    """The record as a long-lived process asks it: read again where the file was replaced, which one look shows.

    Args:
        file: The shop's, which may not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read: tuple[object, Tombstones] = (None, Tombstones())

    def current(self) -> Tombstones:
        """As it is now.

        Raises:
            TombstoneError: the file is there and cannot be read.
        """
        try:
            found = os.stat(self._file)  # noqa: PTH116 - every event asks, and a Path's own takes thrice the time
        except FileNotFoundError:
            return Tombstones()
        except OSError as error:
            raise _unreadable(self._file, error) from error
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        known, tombstones = self._read
        if known != stamp:
            tombstones = read_tombstones(self._file)
            self._read = stamp, tombstones
        return tombstones

    def holds(self, user_id: str) -> bool:
        """Whether a user is forgotten."""
        return self.current().holds(user_id)


def _write(file: Path, before: Tombstones, forgotten: tuple[Tombstone, ...], receipts: int) -> None:
    after = before.model_copy(
        update={"forgotten": forgotten, "generation": before.generation + 1, "receipts": receipts}
    )
    write_json(file, json.loads(after.model_dump_json()))


def _lock(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")
