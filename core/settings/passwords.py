"""Passwords in addresses: settings name a variable in their place, and what is shown of an address has none."""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$\{[^}]*\}")
# The password of a URL's user (not a port, which is digits alone), or of an option: ?password=…, ,password=…, libpq's.
_PASSWORD = re.compile(
    r"(?P<before>://[^/?#\s@:\[]*:)(?!\d*(?:[/?#,]|$))(?P<password>\S+)(?=@)"
    r"|(?P<option>\b(?:password|passwd|pwd)\s*=\s*)(?P<value>'[^']*'|[^,;&\s]+)",
    re.IGNORECASE,
)


def has_password(address: str) -> bool:
    """Whether a password stands in an address as it is, not as the ${NAME} of a variable."""
    found = (match["password"] or match["value"] for match in _PASSWORD.finditer(address))
    return any(_VARIABLE.sub("", password) for password in found)


def hide_passwords(address: str) -> str:
    """An address that can be shown."""
    return _PASSWORD.sub(lambda found: f"{found['before'] or found['option']}***", address)
