"""How an alarm's signal went day by day, as a line beside what is usual of a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.alarms import Alarm

WIDTH, HEIGHT = 560, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 12, 12, 30


@dataclass(frozen=True)
class Point:
    """One day: where it lies, in units of the picture, and its figures."""

    x: float
    y: float
    day: str
    value: float
    is_beyond: bool


@dataclass(frozen=True)
class CoursePicture:
    """All that is drawn.

    Attributes:
        points: Days with a value, the oldest first.
        lines: The line through them, a piece for each row of days without a gap, as SVG has points.
        band: Upper edge and height of what is usual.
        since_x: Where the first day lies that is beyond it; None where it is before the first day.
        marks: Height and value of the ends of what is usual, and of the furthest day.
    """

    points: tuple[Point, ...]
    lines: tuple[str, ...]
    band: tuple[float, float]
    since_x: float | None
    marks: tuple[tuple[float, float], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT


def draw_course(alarm: Alarm) -> CoursePicture | None:
    """The picture of an alarm; None where its signal is not known by day."""
    course = alarm.course
    known = [value for value in course.values if value is not None] if course else []
    if course is None or len(known) < 2:
        return None
    lowest, highest = min(*known, course.low), max(*known, course.high)
    height = (highest - lowest) or 1.0
    step = (WIDTH - _LEFT - _RIGHT) / max(len(course.values) - 1, 1)
    begins = datetime.fromisoformat(course.begins)

    def at(value: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (highest - value) / height, 1)

    points, pieces = [], [[]]  # type: ignore[var-annotated]
    for number, value in enumerate(course.values):
        if value is None:
            pieces.append([])
            continue
        x, day = round(_LEFT + step * number, 1), f"{begins + timedelta(days=number):%Y-%m-%d}"
        points.append(Point(x, at(value), day, value, not course.low <= value <= course.high))
        pieces[-1].append(f"{x},{at(value)}")
    since = (datetime.fromisoformat(alarm.since) - begins) / timedelta(days=1)
    furthest = max(known, key=lambda value: max(value - course.high, course.low - value))
    marks: list[tuple[float, float]] = []
    for value in (course.low, course.high, furthest):
        if all(abs(at(value) - y) >= 14 for y, _ in marks):  # else they would cover each other
            marks.append((at(value), value))
    return CoursePicture(
        points=tuple(points),
        lines=tuple(" ".join(piece) for piece in pieces if len(piece) > 1),
        band=(at(course.high), max(round(at(course.low) - at(course.high), 1), 1.0)),
        since_x=round(_LEFT + step * max(since - 0.5, 0), 1) if 0 <= since < len(course.values) else None,
        marks=tuple(marks),
    )
