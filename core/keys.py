"""API keys of a shop's service: a file per shop of their hashes, which every worker of the service follows.

```
<shop>/api_keys.json   {"keys": [{"id": …, "digest": …, "name": …, "scopes": ["read"], "created_at": …, …}]}
```
A key reads `som_<id>_<secret>`. The id is public and finds the record; the secret is 256 random bits, and the file has
its SHA-256 alone. No slow hash is needed as for passwords: those are slow so that the few that people think of cannot
all be tried, and 2^256 secrets cannot be tried by any hash. Digests are compared in constant time.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from pydantic import AwareDatetime, SecretStr, ValidationError

from core.errors import SommelierError
from core.settings.form import Frozen
from core.settings.names import API_KEY_VARIABLE
from core.storage import exclusively, write_json

KeyScope = Literal["read", "events", "admin"]
KeyState = Literal["active", "expired", "revoked"]
KEY_SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)

_PREFIX = "som"
_ID_BYTES, _SECRET_BYTES = 6, 32
_KEY = re.compile(rf"{_PREFIX}_([0-9a-f]{{{2 * _ID_BYTES}}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")
# An id alone, or a whole key, whatever became of its secret.
_NAMED = re.compile(rf"(?:{_PREFIX}_)?([0-9a-f]{{{2 * _ID_BYTES}}})(?:_.*)?", re.DOTALL)
_FITTING = re.compile(r"[!-~]+")
KEY_FORM = "printable ASCII without blanks, as sommelier keys create prints it"
KEY_FAULT = "Look for a line break or a blank that came along"
_NO_DIGEST = "0" * 64
_SEE_KEYS = "See them: sommelier keys list"
_MAX_NAME_CHARS = 100
_MAX_DAYS = 36_500


class KeyFileError(SommelierError):
    """The file of a shop's keys cannot be read, or a key cannot be made or found."""


class ApiKey(Frozen):
    """One key, without its secret.

    Attributes:
        id: Public; 12 hexadecimal digits.
        digest: SHA-256 of the secret, hexadecimal.
        name: Who or what it is for, in words.
        scopes: What it allows; `admin` allows everything.
        created_at: UTC.
        expires_at: From when on it is not valid; None: never.
        revoked_at: Since when it is not valid; None: it was not revoked.
    """

    id: str
    digest: str
    name: str
    scopes: tuple[KeyScope, ...]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def state(self, now: datetime) -> KeyState:
        """Whether it is valid, and why not."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"

    def may(self, scope: KeyScope) -> bool:
        """Whether it allows what needs a scope."""
        return scope in self.scopes or "admin" in self.scopes


class ApiKeys(Frozen):
    """The keys of a shop as one read of the file has them, oldest first."""

    keys: tuple[ApiKey, ...] = ()


@dataclass(frozen=True)
class NewKey:
    """A key that was just made.

    Attributes:
        key: Its record.
        text: The whole key. Nothing keeps it: who loses it makes another.
    """

    key: ApiKey
    text: SecretStr


def create_key(file: Path, name: str, scopes: Sequence[str], days: float | None = None) -> NewKey:
    """Make a key; its record is on the disk when this returns.

    Args:
        file: The shop's, which may not exist yet.
        name: Who or what it is for.
        scopes: At least one of `KEY_SCOPES`.
        days: How long it is valid; None: until it is revoked.
    Raises:
        KeyFileError: a scope, the name or the days are wrong, or the file cannot be read.
    """
    broken = _broken_rule(name, scopes, days)
    if broken:
        do = "See: sommelier keys create --help"
        raise KeyFileError("Cannot make a key", got=broken[0], expected=broken[1], do=do)
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    now = datetime.now(UTC).replace(microsecond=0)
    key = ApiKey(
        id=key_id,
        digest=_digest(secret),
        name=name.strip(),
        scopes=tuple(scope for scope in KEY_SCOPES if scope in scopes),
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    with exclusively(_lock(file)):
        _write(file, (*read_keys(file).keys, key))
    return NewKey(key, SecretStr(f"{_PREFIX}_{key_id}_{secret}"))


def key_id_of(text: str) -> str:
    """The id in what names a key: the id itself, or the whole key, as somebody has it who found a leaked one.

    Raises:
        KeyFileError: it is neither. It is not shown: it may hold the secret.
    """
    form = _NAMED.fullmatch(text.strip())
    if form is None:
        got = f"key=a text of {len(text)} characters"
        expected = f"the id of a key, {2 * _ID_BYTES} hexadecimal digits, or the whole key"
        raise KeyFileError("Cannot tell which key is meant", got=got, expected=expected, do=_SEE_KEYS)
    return form[1]


def revoke_key(file: Path, key_id: str) -> ApiKey:
    """Make a key invalid for good; one that was revoked before stays as it is.

    Args:
        file: The shop's.
        key_id: Of `ApiKey.id`; see `key_id_of`.
    Raises:
        KeyFileError: there is no such key, or the file cannot be read.
    """
    key_id = key_id_of(key_id)
    with exclusively(_lock(file)):
        keys = read_keys(file).keys
        found = next((key for key in keys if key.id == key_id), None)
        if found is None:
            raise KeyFileError(
                "Cannot revoke",
                got=f"key={key_id}",
                expected="the id of a key of this shop",
                where=str(file),
                do=_SEE_KEYS,
            )
        if found.revoked_at is not None:
            return found
        revoked = found.model_copy(update={"revoked_at": datetime.now(UTC).replace(microsecond=0)})
        _write(file, tuple(revoked if key.id == key_id else key for key in keys))
        return revoked


def read_keys(file: Path) -> ApiKeys:
    """The keys of a shop; none where there is no file.

    Raises:
        KeyFileError: the file is there and cannot be read.
    """
    try:
        return ApiKeys.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ApiKeys()
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> KeyFileError:
    words = f"{error.error_count()} wrong fields" if isinstance(error, ValidationError) else str(error)
    return KeyFileError(
        "Cannot read the API keys",
        got=f"file={words}",
        expected="JSON as `sommelier keys` writes it",
        where=str(file),
        do="Put it back from a backup, or remove it and make new keys; without it every key is refused",
    )


class KeyFile:
    """The keys as a long-lived process asks for them: read again where the file was replaced, which one look shows.

    So a key that was made or revoked counts from the next request on, in every worker.

    Args:
        file: The shop's, which may not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read: tuple[object, dict[str, ApiKey]] = (None, {})

    def find(self, text: str, now: datetime | None = None) -> ApiKey | None:
        """The valid key that a client gave; None for any that is not, for whatever reason.

        Args:
            text: As the client sent it.
            now: UTC; by default the moment.
        Raises:
            KeyFileError: the file is there and cannot be read.
        """
        keys = self._current()
        form = _KEY.fullmatch(text)
        key_id, secret = form.groups() if form else ("", "")
        key = keys.get(key_id)
        # An unknown id takes as long as a known one.
        is_secret = hmac.compare_digest(_digest(secret), key.digest if key else _NO_DIGEST)
        if key is None or not is_secret or key.state(now or datetime.now(UTC)) != "active":
            return None
        return key

    def is_empty(self) -> bool:
        """Whether no key was ever made."""
        return not self._current()

    def _current(self) -> dict[str, ApiKey]:
        try:
            found = os.stat(self._file)  # noqa: PTH116 - every request asks, and a Path's own takes thrice the time
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unreadable(self._file, error) from error
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        known, keys = self._read
        if known != stamp:
            keys = {key.id: key for key in read_keys(self._file).keys}
            self._read = stamp, keys
        return keys


def given_key() -> SecretStr | None:
    """The key that a client is to send, of SOMMELIER_API_KEY in the environment; None where it names none.

    Raises:
        KeyFileError: no header can hold it. It is not shown.
    """
    key = SecretStr(os.environ.get(API_KEY_VARIABLE, ""))
    if not key.get_secret_value():
        return None
    if not fits_header(key):
        raise KeyFileError(
            "Cannot use the API key", got=f"{API_KEY_VARIABLE}=<hidden>", expected=KEY_FORM, do=KEY_FAULT
        )
    return key


def fits_header(key: SecretStr) -> bool:
    """Whether a header can hold a key: what sends one that does not fit says so with the key in its words."""
    return _FITTING.fullmatch(key.get_secret_value()) is not None


def key_header(key: SecretStr | None) -> dict[str, str]:
    """The header that a request carries its key in; none without a key."""
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def _broken_rule(name: str, scopes: Sequence[str], days: float | None) -> tuple[str, str] | None:
    """What is wrong with a key that is asked for, and the rule."""
    if not 1 <= len(name.strip()) <= _MAX_NAME_CHARS or not name.isprintable():
        return f"name={name[:_MAX_NAME_CHARS]!r}", f"1 to {_MAX_NAME_CHARS} printable characters"
    if not scopes or set(scopes) - set(KEY_SCOPES):
        return f"scopes={', '.join(scopes) or 'none'}", f"one or more of {', '.join(KEY_SCOPES)}"
    if days is not None and not 0 < days <= _MAX_DAYS:
        return f"days={days:g}", f"more than 0, at most {_MAX_DAYS}"
    return None


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _write(file: Path, keys: tuple[ApiKey, ...]) -> None:
    write_json(file, json.loads(ApiKeys(keys=keys).model_dump_json()))


def _lock(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")
