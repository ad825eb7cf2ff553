"""Errors of the front door."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import SommelierError


class ValidationRoomError(SommelierError):
    """Base of the errors of `validation`."""


class SourceError(ValidationRoomError):
    """A source file is missing, empty, truncated, unreadable, or lacks a column that cannot be derived."""


def without_time(table: str, where: str, has: Iterable[str], do: str = "") -> SourceError:
    """The error of events without any time, which says what is possible all the same.

    Args:
        do: How the source tells which column is one; "" for one whose columns are mapped.
    """
    do = do or f"Map it in the settings under source.columns.{table}"
    return SourceError(
        "Cannot map columns",
        got=f"{table}.timestamp is required and missing",
        expected=f"a column of times among {', '.join(has)}",
        where=where,
        do=f"{do}; where there is none and the rows stand in the order "
        "of the events, source.no_time=file_order takes that order: recommendations and their evaluation work, what "
        "depends on dates (recency, windows of popularity, drift) means nothing then",
    )


class TableRejected(ValidationRoomError):
    """A whole table is unfit: too few rows, too many bad ones, or a required column without a value."""


class RawFolderError(ValidationRoomError):
    """A raw folder cannot be written: the disk is full, or a quota is used up."""


class RuleError(ValidationRoomError):
    """A rule or a cleaning of the settings does not fit the tables."""


class ReadmissionError(ValidationRoomError):
    """Quarantined rows cannot be read, or what was edited cannot be readmitted."""
