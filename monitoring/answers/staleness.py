"""Whether the bundle in service has gone stale: an alarm of its own name, made of what the signals say together.

Stale is a bundle that has been in service for long and answers worse than before, for everybody, or does not know what
users take by now, while the shop is as busy as ever and its data are whole: then the world has moved on, and learning
again is what helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.alarms import Alarm

STALE = "quality.model.stale"
UNKNOWN_SHARE = "quality.replay.unknown_share"
STALE_AFTER_DAYS = 14  # since it learned; a younger bundle that answers badly was bad from the start


@dataclass(frozen=True)
class Learned:
    """What the bundle in service learned from.

    Attributes:
        cut_at: Up to here days are what it learned from, and a reference takes them as they are.
        until: It knows nothing later; None where no bundle is in service.
        digest: The bundle's own; None where none is in service.
    """

    cut_at: datetime
    until: datetime | None = None
    digest: str | None = None


def with_staleness(alarms: Sequence[Alarm], learned: Learned, end: datetime) -> tuple[Alarm, ...]:
    """The alarms, with that of a stale bundle before the alarm of quality that says so, where that holds.

    Args:
        alarms: The named cause first.
        learned: Up to when the bundle learned.
        end: Of the look.
    """
    quality = [one for one in alarms if one.family == "quality"]
    # Of one segment alone it is a turn of taste.
    worse = quality[0] if quality and all(one.segment is None for one in quality) else None
    if worse is None or learned.until is None or end - learned.until < timedelta(days=STALE_AFTER_DAYS):
        return tuple(alarms)
    # Of a shop that is less busy or has broken data, it is no fault of the model.
    if any(one.broken or _is_loss_of_activity(one) for one in alarms):
        return tuple(alarms)
    days = (end - learned.until).days
    says = (
        f"The bundle in service has gone stale: it learned until {learned.until.date()}, {days} days ago, and the "
        f"shop is as busy as before. {worse.says}"
    )
    stale = worse.model_copy(update={"signal": STALE, "says": says})
    place = alarms.index(worse)
    return (*alarms[:place], stale, *alarms[place:])


def _is_loss_of_activity(alarm: Alarm) -> bool:
    falls = alarm.value is not None and alarm.reference is not None and alarm.value < alarm.reference
    return alarm.signal.endswith(".volume") and falls
