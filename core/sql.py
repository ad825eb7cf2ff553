"""Texts and names as SQL: whatever comes from data or settings is quoted here, and nowhere by hand."""

from __future__ import annotations


def literal(text: str) -> str:
    """Text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a SQL identifier, of whatever characters."""
    return '"' + name.replace('"', '""') + '"'


def json_pointer(name: str) -> str:
    """A key of a JSON object as the SQL literal of a path to its value.

    DuckDB's own paths (`$."key"`) read a star as any key and take no empty key; a JSON pointer names every key.
    """
    return literal("/" + name.replace("~", "~0").replace("/", "~1"))
