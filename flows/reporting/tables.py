"""Tables as plain text."""

from __future__ import annotations

import re
from typing import Any

# What breaks a line, or what a terminal takes for a command to it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def format_table(rows: list[dict[str, Any]]) -> list[str]:
    """Align rows of equal keys as plain text, one line each, the header first."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def one_line(text: str) -> str:
    """A text of a shop as a terminal may show it: on one line, and nothing in it is a command to the terminal."""
    return _CONTROLS.sub(lambda found: " " if found[0].isspace() else ascii(found[0])[1:-1], text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ("no", "yes")[value] if isinstance(value, bool) else one_line(str(value))
