"""A look of `monitor`, on the time line: which alarms are raised, still on, or over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.alarms import Alarm
from core.logs.timeline import CLEARED, ON, PAGE, Entry, Timeline
from flows.loop.notices import untold, words_of_over
from monitoring.decisions import OnAlarm

_QUIET = "quiet_looks"
_SEEN = timedelta(days=28)  # of a look


@dataclass(frozen=True)
class Look:
    """What a look found.

    Attributes:
        on: Alarms that are on, the strongest first; those that were not seen and are not over yet, last.
        raised, cleared: Entries of those that began and ended with it; somebody is to be told of them.
    """

    on: tuple[OnAlarm, ...]
    raised: tuple[Entry, ...]
    cleared: tuple[Entry, ...]


def record_look(timeline: Timeline, alarms: Sequence[Alarm], clear_looks: int) -> Look:
    """Record which alarms a look found. One that was on before is counted, and makes no entry more.

    Args:
        timeline: Of the shop.
        alarms: That the look found, the strongest first. Of one signal the strongest alone counts.
        clear_looks: An alarm is over once it was missed so often in a row.
    """
    before = {entry.subject: entry for entry in timeline.lasting("alarm")}
    found: dict[str, Alarm] = {}
    for alarm in alarms:
        found.setdefault(alarm.signal, alarm)
    on, raised, cleared = [], [], []
    for signal, seen in found.items():
        known = before.get(signal)
        alarm = seen if known is None else seen.model_copy(update={"since": _since(known, seen)})
        details = {"alarm": alarm.model_dump(mode="json"), _QUIET: 0, PAGE: alarm.page or None}
        entry = None if known is None else timeline.repeat(known, alarm.says, details=details, only=[ON])
        if entry is None or entry.state != ON:
            entry = _raise(timeline, alarm, {**details, **untold("sommelier.alarm.raised")})
            raised.append(entry)
        on.append(OnAlarm(alarm=alarm, looks=entry.count))
    for signal, entry in before.items():
        if signal in found:
            continue
        quiet = int(entry.details.get(_QUIET, 0)) + 1
        if quiet >= clear_looks:
            told = untold("sommelier.alarm.cleared", words_of_over(entry))
            cleared.append(timeline.settle(entry, CLEARED, details={_QUIET: quiet, **told}, only=[ON]))
            continue
        still = timeline.note(entry, {_QUIET: quiet})
        on.append(OnAlarm(alarm=Alarm.model_validate(still.details["alarm"]), looks=still.count, is_seen=False))
    return Look(tuple(on), tuple(raised), tuple(cleared))


def _since(known: Entry, alarm: Alarm) -> str:
    """Since when an alarm is on: a look sees so many days only, and earlier looks have seen earlier ones."""
    is_as_far_as_seen = datetime.fromisoformat(alarm.until) - datetime.fromisoformat(alarm.since) >= _SEEN
    told = known.details["alarm"]["since"]
    return min(told, alarm.since) if is_as_far_as_seen else alarm.since


def _raise(timeline: Timeline, alarm: Alarm, details: dict[str, Any]) -> Entry:
    """An entry of an alarm that was off; one alone, where two looks see it at once."""
    last = timeline.newest("alarm", alarm.signal)
    if last is not None and last.state == ON:
        return timeline.repeat(last, alarm.says, details=details)
    key = f"alarm/{alarm.signal}/after {0 if last is None else last.id}"
    return timeline.add("alarm", alarm.signal, ON, alarm.says, details=details, key=key)
