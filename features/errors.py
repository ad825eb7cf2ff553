"""Errors of the feature store."""

from __future__ import annotations

from core.errors import SommelierError


class FeatureError(SommelierError):
    """Base of the errors of `features`."""


class CleanTablesError(FeatureError):
    """The folder of clean tables is missing, or lacks a table or a column of the contract."""


class StoreNotReady(FeatureError):
    """The feature store does not exist yet: no refresh has created it."""


class ArchiveDamaged(FeatureError):
    """A part of the offline tables is missing, or is not what was published."""


class FeaturesOutdated(FeatureError):
    """The feature store holds features of other settings, or of another version, than those asked for."""


class FeastFailure(FeatureError):
    """Feast could not do what was asked of it."""


class StoreEmptied(FeastFailure):
    """The online store lost what a refresh brought into it."""


class StoreUnreachable(FeastFailure):
    """The online store failed a moment ago, and is not asked again yet."""
