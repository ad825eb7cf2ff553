"""What earlier looks at a shop saw: when, how full the columns of users and items were, which days were not quiet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from core.alarms import Alarm
from core.storage import atomic_file
from monitoring.answers.staleness import UNKNOWN_SHARE
from monitoring.signals.activity import Span

LOOKS = "looks.json"
KEPT_DAYS = 400
_USUAL_DAYS = 14  # whose looks say how late events come
_LATELY = timedelta(hours=12)  # looks since then may be of the stop that is asked for
_LEAST_LOOKS, _LEAST_PAST = 3, timedelta(days=2.5)
_LATEST_H = 48.0  # later than this is a feed that stopped, no habit
NEW_COLUMN = ".new_column"  # the end of a signal's name


class Look(BaseModel):
    """One look.

    Attributes:
        end: Where its newest day ended.
        filled: Share of users that have a value, by column.
        filled_items: The same of items; None where an earlier version looked, which did not note it.
        unquiet: Windows in which something had moved.
        age_h: Of the newest event, hours; None where an earlier version looked.
    """

    model_config = ConfigDict(frozen=True)

    end: datetime
    filled: dict[str, float] = {}
    filled_items: dict[str, float] | None = None
    unquiet: tuple[tuple[datetime, datetime], ...] = ()
    age_h: float | None = None


_LOOKS = TypeAdapter(list[Look])


def read_looks(folder: Path, before: datetime) -> list[Look]:
    """Those that ended before a moment, the oldest first."""
    path = folder / LOOKS
    if not path.exists():
        return []
    return sorted(
        (look for look in _LOOKS.validate_json(path.read_bytes()) if look.end < before), key=lambda look: look.end
    )


def keep_look(folder: Path, earlier: Sequence[Look], look: Look) -> None:
    """Keep a look behind earlier ones; what was seen of a later end is forgotten, as the data went back."""
    since = look.end - timedelta(days=KEPT_DAYS)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / LOOKS) as temporary:
        temporary.write_bytes(_LOOKS.dump_json([*(one for one in earlier if one.end >= since), look]))


def usual_lag(looks: Sequence[Look], end: datetime) -> timedelta | None:
    """How old the newest event is at most by habit, as earlier looks found it; None where too few noted it.

    Args:
        looks: The oldest first.
        end: Of the look that asks.
    """
    since, until = end - timedelta(days=_USUAL_DAYS), end - _LATELY
    noted = [(look.end, look.age_h) for look in looks if look.age_h is not None and since <= look.end <= until]
    ages = [age for _, age in noted if age <= _LATEST_H]
    if not ages or len(noted) < _LEAST_LOOKS or noted[0][0] > end - _LEAST_PAST:
        return None
    return timedelta(hours=max(ages))


def unquiet_windows(alarms: Sequence[Alarm]) -> tuple[tuple[datetime, datetime], ...]:
    """Of each signal the window of its alarm; of items that an old bundle does not know, and of new columns, none: the
    days are as ever.
    """
    told = [one for one in alarms if one.signal != UNKNOWN_SHARE and not one.signal.endswith(NEW_COLUMN)]
    ends = [(datetime.fromisoformat(one.until), timedelta(days=one.window_days)) for one in told]
    return tuple(sorted({(until - days, until) for until, days in ends}))


def noisy_days(looks: Sequence[Look], span: Span, cut_at: datetime) -> np.ndarray:
    """Days that no reference takes: not quiet, and after what the model learned from. Shape (n_days,)."""
    noisy = np.zeros(span.n_days, dtype=bool)
    for since, until in (window for look in looks for window in look.unquiet):
        begin = (max(since, cut_at) - span.starts(0)) / timedelta(days=1)
        end = (until - span.starts(0)) / timedelta(days=1)
        noisy[max(int(np.floor(begin)), 0) : max(int(np.ceil(end)), 0)] = True
    return noisy
