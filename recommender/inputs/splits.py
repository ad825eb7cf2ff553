"""The global time split: two instants cut everyone's events into training, validation and test.

One cut-off for all users is what production means: a model may know nothing that happened after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from core.schema import Split
from recommender.errors import TrainingDataError


@dataclass(frozen=True)
class Cuts:
    """Where the windows open: training < validation_at <= validation < test_at <= test. Both are aware, UTC."""

    validation_at: datetime
    test_at: datetime

    def split_of(self, timestamp: datetime) -> Split:
        """The window an event of this time lies in."""
        if timestamp < self.validation_at:
            return "train"
        return "validation" if timestamp < self.test_at else "test"


def global_time_cuts(timestamps: np.ndarray, validation_share: float, test_share: float) -> Cuts:
    """Put the cuts at quantiles of the events' times.

    Events of one instant are never torn apart: a cut is an instant at which an event happened, the first one at or
    after its quantile that leaves at least one instant to the window before it.

    Args:
        timestamps: Times of all interactions, datetime64 (UTC), any order. Shape (n_events,).
        validation_share: Share of events in the validation window, between 0 and 1.
        test_share: Share of events in the test window, between 0 and 1.
    Raises:
        TrainingDataError: the shares leave nothing to train on, or the events have fewer than three instants.
    """
    if validation_share <= 0 or test_share <= 0 or validation_share + test_share >= 1:
        raise TrainingDataError(
            "Cannot split by time",
            got=f"validation_share={validation_share}, test_share={test_share}",
            expected="positive shares with a sum below 1",
            do="Lower them in the settings under recipe.evaluation",
        )
    ordered = np.sort(np.asarray(timestamps, dtype="datetime64[us]"))
    instants = np.unique(ordered)
    if len(instants) < 3:
        raise TrainingDataError(
            "Cannot split by time",
            got=f"distinct_timestamps={len(instants)}",
            expected="at least 3, one for each window",
            do="Give interactions that are spread over time",
        )
    wanted = [1 - validation_share - test_share, 1 - test_share]
    at_quantile = [ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in wanted]
    validation = min(max(int(np.searchsorted(instants, at_quantile[0])), 1), len(instants) - 2)
    test = max(int(np.searchsorted(instants, at_quantile[1])), validation + 1)
    return Cuts(validation_at=_aware(instants[validation]), test_at=_aware(instants[test]))


def _aware(instant: np.datetime64) -> datetime:
    naive: datetime = instant.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)
