"""Errors of the front door."""

from __future__ import annotations

from recommender.errors import SommelierError


class ValidationRoomError(SommelierError):
    """Base of the errors of `validation`."""


class SourceError(ValidationRoomError):
    """A source file is missing, empty, truncated, unreadable, or lacks a column that cannot be derived."""


class TableRejected(ValidationRoomError):
    """A whole table is unfit: too few rows, too many bad ones, or a required column without a value."""


class RawFolderError(ValidationRoomError):
    """A raw folder cannot be written: the disk is full, or a quota is used up."""


class RuleError(ValidationRoomError):
    """A rule or a cleaning of the settings does not fit the tables."""


class ReadmissionError(ValidationRoomError):
    """Quarantined rows cannot be read, or what was edited cannot be readmitted."""
