"""Errors of the data gate."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import SommelierError


class DataGateError(SommelierError):
    """Base of the errors of `validation`."""


class SourceError(DataGateError):
    """A source file is missing, empty, truncated, unreadable, or lacks a column that cannot be derived."""


def cannot_read(got: str, expected: str, do: str, where: str = "") -> SourceError:
    """The error of a source that cannot be read."""
    return SourceError("Cannot read source", got=got, expected=expected, where=where, do=do)


def missing_time(table: str, where: str, has: Iterable[str], do: str = "") -> SourceError:
    """The error of events without a time column; it says what works without one.

    Args:
        do: What the user can do; "" for a source whose columns are mapped in the settings.
    """
    do = do or f"Map it in the settings under recipe.source.columns.{table}"
    return SourceError(
        "Cannot map columns",
        got=f"{table}.timestamp is required and missing",
        expected=f"a column of times among {', '.join(has)}",
        where=where,
        do=f"{do}; if there is none and the rows are in the order of the events, set recipe.source.no_time=file_order: "
        "recommendations and their evaluation work, what depends on dates (recency, windows of popularity, drift) "
        "does not",
    )


class TableRejected(DataGateError):
    """A whole table cannot be used: too few rows, too many bad ones, or a required column without a value."""


class RawFolderError(DataGateError):
    """A raw folder cannot be written: the disk is full, or a quota is used up."""


class RuleError(DataGateError):
    """A rule or a cleaning step of the settings does not fit the tables."""


class ReadmissionError(DataGateError):
    """Quarantined rows cannot be read, or what was edited cannot be readmitted."""


class MaskError(DataGateError):
    """Personal data cannot be masked as the settings say."""
