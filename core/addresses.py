"""Addresses of databases and stores: settings name environment variables, so that no secret stands in a file."""

from __future__ import annotations

import re
from os import environ
from urllib.parse import unquote

from core.errors import SommelierError

_MIN_HIDDEN_CHARS = 3  # less is no secret, and is part of other words
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def expand(address: str, failed: str, error: type[SommelierError]) -> str:
    """Replace each ${NAME} with its value in the environment.

    Args:
        failed: What cannot be done without the address, e.g. "Cannot open the feature store".
        error: Class of the error.
    Raises:
        SommelierError: of class `error`; a variable is not set.
    """
    for name in _VARIABLE.findall(address):
        if name not in environ:
            raise error(
                failed,
                got=f"${{{name}}} is not set",
                expected="a variable of the environment, since the settings name it",
                do=f"Set {name} in the environment of every process that connects, or write the address without it",
            )
    return _VARIABLE.sub(lambda found: environ[found[1]], address)


def hide_values(text: str, address: str) -> str:
    """A text, such as a driver's error, without the values that an address takes from the environment."""
    values = {environ.get(name, "") for name in _VARIABLE.findall(address)}
    known = {form for value in values for form in (value, unquote(value)) if len(form) >= _MIN_HIDDEN_CHARS}
    for value in sorted(known, key=len, reverse=True):
        text = text.replace(value, "***")
    return text
