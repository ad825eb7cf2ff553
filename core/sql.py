"""Texts and names as SQL: whatever comes from data or settings is quoted here, and nowhere by hand."""

from __future__ import annotations


def literal(text: str) -> str:
    """Text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a SQL identifier, of whatever characters."""
    return '"' + name.replace('"', '""') + '"'
