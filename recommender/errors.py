"""What can go wrong while models are fitted, loaded and evaluated."""

from __future__ import annotations

from core.errors import SommelierError


class RecommenderError(SommelierError):
    """Base of the errors of `recommender`."""


class BundleError(RecommenderError):
    """A model bundle is missing, damaged or of another schema version."""


class OtherSchemaVersion(BundleError):
    """A model bundle was written by another version of this code."""


class TrainingDataError(RecommenderError):
    """The training set lacks what a model needs."""


class MetricError(RecommenderError):
    """A metric cannot be computed from what it was given."""


class RerankError(RecommenderError):
    """A list cannot be re-ranked as asked, as the catalogue lacks what that looks at."""


class NotFinite(RecommenderError):
    """A score, a loss or a weight is NaN or infinite: what came of it would be chosen, or served, by chance."""
