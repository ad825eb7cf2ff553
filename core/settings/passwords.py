"""Passwords in addresses: settings name a variable in their place, and what is shown of an address has none."""

from __future__ import annotations

import re

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


def has_password(address: str) -> bool:
    """Whether a password stands in an address as it is, not as the ${NAME} of a variable."""
    return re.search(PASSWORD_PATTERN, address) is not None


def hide_passwords(address: str) -> str:
    """An address that can be shown."""
    return _PASSWORD.sub(lambda found: f"{found['before'] or found['option']}***", address)
