"""What commands print: lines as they come, tables, JSON."""

from __future__ import annotations

import json
import sys
from typing import Any


def show(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


def show_aside(line: str) -> None:
    """Print a line that is no part of the answer."""
    print(line, file=sys.stderr, flush=True)


def print_rows(rows: list[dict[str, Any]], as_json: bool, *, none: str = "") -> None:
    """Print rows of equal keys, as a table or as a JSON list.

    Args:
        none: Said beside the answer where a table has no rows.
    """
    from flows.reporting.tables import format_table

    if as_json:
        print_json(rows)
        return
    if not rows and none:
        show_aside(none)
    for line in format_table(rows):
        print(line)


def print_json(value: Any) -> None:
    """Print plain values as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
