"""The time line as a picture: where each entry stands in it, in lanes by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from core.logs.timeline import ON, RUNNING, WAITING, Entry, Kind

WIDTH, LANE_HEIGHT, LEFT, TOP = 960, 26, 110, 24
_MIN_BAR = 4.0  # of what lasted for a moment only
_TICKS = 6
_GOOD = frozenset({"completed", "promoted", "promote", "cleared", "sent", "grown", "done"})
_BAD = frozenset({"failed", "crashed", "refused", "refuse", "withdrawn", ON})


@dataclass(frozen=True)
class Mark:
    """An entry in the picture.

    Attributes:
        x, y: Of its left end and its middle, in units of the picture.
        width: Of what lasted; 0 for what happened at once, which is drawn as a dot.
        tone: `good`, `bad` or `plain`.
    """

    entry: Entry
    x: float
    y: float
    width: float
    tone: str


@dataclass(frozen=True)
class Picture:
    """All that is drawn.

    Attributes:
        lanes: Kinds that have entries, with the middle of each lane.
        ticks: Places and words of the axis.
    """

    marks: tuple[Mark, ...]
    lanes: tuple[tuple[Kind, float], ...]
    ticks: tuple[tuple[float, str], ...]
    height: int
    width: int = WIDTH
    left: int = LEFT


def draw(entries: Sequence[Entry], now: datetime) -> Picture | None:
    """The picture of these entries; None where there are none.

    Args:
        now: Aware; what still lasts is drawn up to here.
    """
    if not entries:
        return None
    begins = min(datetime.fromisoformat(entry.at) for entry in entries)
    ends = max(now, *(datetime.fromisoformat(entry.until) for entry in entries))
    span = max(ends - begins, timedelta(minutes=1))

    def place(moment: datetime) -> float:
        return LEFT + (WIDTH - LEFT - 10) * ((moment - begins) / span)

    present = {entry.kind for entry in entries}
    kinds = [kind for kind in get_args(Kind) if kind in present]
    lanes = {kind: TOP + LANE_HEIGHT * (number + 0.5) for number, kind in enumerate(kinds)}
    marks = []
    for entry in entries:
        x = place(datetime.fromisoformat(entry.at))
        until = now if entry.state in (ON, RUNNING, WAITING) else datetime.fromisoformat(entry.until)
        lasted = entry.kind in ("alarm", "run")
        width = max(_MIN_BAR, place(until) - x) if lasted else 0.0
        marks.append(Mark(entry, round(x, 1), lanes[entry.kind], round(width, 1), tone_of(entry)))
    form = "%H:%M" if span < timedelta(days=2) else "%d %b"
    moments = [begins + span * (number / (_TICKS - 1)) for number in range(_TICKS)]
    ticks = tuple((round(place(moment), 1), f"{moment:{form}}") for moment in moments)
    return Picture(tuple(marks), tuple(lanes.items()), ticks, TOP + LANE_HEIGHT * len(kinds) + 6)


def tone_of(entry: Entry) -> str:
    """How an entry is coloured: by how it ended."""
    if entry.state in _BAD:
        return "bad"
    return "good" if entry.state in _GOOD else "plain"
