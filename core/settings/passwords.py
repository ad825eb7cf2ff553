"""Passwords in addresses: settings name a variable in their place, and what is shown of an address has none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# Of a URL's user (not a port, which is digits alone), or of an option: ?password=…, ,password=…, libpq's.
_USER = r"://[^/?#\s@:\[]*:(?!\d*(?:[/?#,]|$))"
_OPTION = r"(?:password|passwd|pwd|secret|token|api_?key)\s*=\s*"
_PASSWORD = re.compile(
    rf"(?P<before>{_USER})(?P<password>\S+)(?=@)|(?P<option>{_OPTION})(?P<value>'[^']*'|[^,;&\s]+)", re.IGNORECASE
)
_VARIABLE = r"\$\{[^}]*\}"
# After any variables a character that begins none: what stands there is more than ${NAME}. JSON Schema reads it too.
PASSWORD_PATTERN = (
    rf"(?i:{_USER}(?:{_VARIABLE})*(?!{_VARIABLE})\S\S*@|{_OPTION}(?:{_VARIABLE})*(?!{_VARIABLE})[^,;&\s])"
)
# Names that nothing but a secret has.
_SECRET_NAME = re.compile(r"(?:^|[._])(?:password|passwd|pwd|secret|token|api_?key|credentials?)$", re.IGNORECASE)
_IN_URL = re.compile(rf"{_USER}(?:{_VARIABLE})*(?!{_VARIABLE})\S\S*@")
IN_ITS_PLACE = "${NAME} in the place of the password, which is then read from the environment"


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name would hold a secret. There is none: whoever writes one means another."""
    return _SECRET_NAME.search(name) is not None


def find_password(tree: Any, name: str = "") -> tuple[str, str] | None:
    """The first text in a tree of plain values that has a URL with a password: its dotted name, and the text hidden.

    Of what is no address, such as a query, only URLs are looked at: `token = 'x'` may be a column's.
    """
    if isinstance(tree, str):
        return (name, hide_passwords(tree)) if _IN_URL.search(tree) else None
    inner: Iterable[tuple[Any, Any]]
    if isinstance(tree, Mapping):
        inner = tree.items()
    elif isinstance(tree, list | tuple):
        inner = enumerate(tree)
    else:
        return None
    found = (find_password(value, f"{name}.{key}" if name else str(key)) for key, value in inner)
    return next((one for one in found if one), None)


def has_password(address: str) -> bool:
    """Whether a password stands in an address as it is, not as the ${NAME} of a variable."""
    return re.search(PASSWORD_PATTERN, address) is not None


def hide_passwords(address: str) -> str:
    """An address that can be shown."""
    return _PASSWORD.sub(lambda found: f"{found['before'] or found['option']}***", address)
