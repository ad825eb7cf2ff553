"""Addresses of databases and stores: settings name environment variables, so that no secret stands in a file."""

from __future__ import annotations

import re
from os import environ

from core.errors import SommelierError

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
