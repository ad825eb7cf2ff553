"""The global time split: two instants cut everyone's events into training, validation and test.

One cut-off for all users is what production means: a model may know nothing that happened after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.schema import Split
from core.settings.evaluation import EvaluationSettings
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


# In shares, nobody's events count for more than those of so many median users.
MEDIANS_PER_USER = 10


def global_time_cuts(timestamps: np.ndarray, windows: EvaluationSettings, users: np.ndarray | None = None) -> Cuts:
    """Put the cuts at shares of the events, or at the moments that the settings name.

    Events of one instant are never torn apart: a cut by share is an instant at which an event happened, the first one
    at or after its quantile that leaves at least one instant to the window before it.

    Args:
        timestamps: Times of all interactions, datetime64 (UTC), any order. Shape (n_events,).
        windows: Of each window the share, or where it opens.
        users: Who acted, codes from 0, so that no busy user fills a window; see `event_weights`. Without them all
            events count alike. Shape (n_events,).
    Raises:
        TrainingDataError: the events have fewer than three instants, or a window, or what is left for training, has
            none.
    """
    times = np.asarray(timestamps, dtype="datetime64[us]")
    log = _Log.of(times, np.ones(len(times)) if users is None else event_weights(users))
    if len(log.instants) < 3:
        raise TrainingDataError(
            "Cannot split by time",
            got=f"distinct_timestamps={len(log.instants)}",
            expected="at least 3, one for each window",
            do="Give interactions that are spread over time",
        )
    validation_at, test_at = _moments(log, windows)
    places = np.searchsorted(log.instants, np.array([validation_at, test_at]))
    before, inside, after = np.maximum(np.diff([0, *places, len(log.instants)]), 0)
    if min(before, inside, after) < 1:
        raise TrainingDataError(
            "Cannot split by time",
            got=f"validation from {_minute(validation_at)}, test from {_minute(test_at)}: distinct timestamps "
            f"{before} before, {inside} in validation, {after} in test",
            expected=f"at least 1 in each; the events are of {_minute(log.instants[0])} to {_minute(log.instants[-1])}",
            do="Change recipe.evaluation.validation_from and test_from, or leave them out for shares",
        )
    return Cuts(validation_at=_aware(validation_at), test_at=_aware(test_at))


def event_weights(users: np.ndarray) -> np.ndarray:
    """How much each event counts in a share: 1, or less where its user has more than ten times the median user's.

    Args:
        users: Who acted, codes from 0. Shape (n_events,).
    Returns:
        Shape (n_events,), float64.
    """
    counts = np.bincount(users)
    most = MEDIANS_PER_USER * np.median(counts[counts > 0])
    weights: np.ndarray = np.minimum(1.0, most / np.maximum(counts, 1))[users]
    return weights


@dataclass(frozen=True)
class _Log:
    """Instants at which something happened, ascending, and the weight of the events before each, and of all."""

    instants: np.ndarray
    before: np.ndarray
    whole: float

    @classmethod
    def of(cls, times: np.ndarray, weights: np.ndarray) -> _Log:
        instants, place = np.unique(times, return_inverse=True)
        at = np.bincount(place, weights, minlength=len(instants))
        return cls(instants, np.cumsum(at) - at, float(at.sum()))

    def place(self, weight: float) -> int:
        """Of the instant at which the event happened that this weight of events stands before."""
        return max(int(np.searchsorted(self.before, weight, side="right")) - 1, 0)


def _moments(log: _Log, windows: EvaluationSettings) -> tuple[np.datetime64, np.datetime64]:
    """Where validation and test open."""
    validation, test = windows.validation_from, windows.test_from
    last = len(log.instants) - 1
    if test is None:
        until_test = log.place(log.whole * (1 - windows.test_share))
        if validation is None:
            share = 1 - windows.validation_share - windows.test_share
            opens = min(max(log.place(log.whole * share), 1), last - 1)
        else:
            opens = 1 if isinstance(validation, timedelta) else int(np.searchsorted(log.instants, _us(validation)))
        test_at = log.instants[min(max(until_test, opens + 1), last)]
    else:
        test_at = log.instants[-1] - _us(test) if isinstance(test, timedelta) else _us(test)
        place = int(np.searchsorted(log.instants, test_at))
        wanted = (log.before[place] if place <= last else log.whole) - log.whole * windows.validation_share
        opens = max(min(log.place(wanted), place - 1), 0)
    if validation is None:
        return log.instants[max(opens, 1)], test_at
    return test_at - _us(validation) if isinstance(validation, timedelta) else _us(validation), test_at


def _us(moment: datetime | timedelta) -> Any:
    """As numpy has it, in microseconds; moments in UTC."""
    if isinstance(moment, timedelta):
        return np.timedelta64(moment, "us")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _minute(instant: np.datetime64) -> str:
    return f"{_aware(instant):%Y-%m-%d %H:%M}"


def _aware(instant: np.datetime64) -> datetime:
    naive: datetime = instant.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)
