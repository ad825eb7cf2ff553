"""GET /app/status: is all well, what moved, and what did the platform do about it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from core.alarms import Alarm
from core.logs.timeline import ON, PAGE, Entry
from core.settings.tree import Settings
from serving.api.experiments import ExperimentsInfo
from serving.api.model import ModelInfo
from serving.api.timeline import TimelineInfo
from serving.web.course_picture import CoursePicture, draw_course
from serving.web.links import report_address
from serving.web.measures import headline
from serving.web.templates import render
from serving.web.timeline_picture import draw, tone_of

_MEASURES = 6  # of the bundle's evaluation


@dataclass(frozen=True)
class AlarmCard:
    """An alarm that is on, or was.

    Attributes:
        alarm: As the newest look saw it; None where another version wrote it down.
        followed: What came of it, in order, with how many steps away.
        shares: Of the reference and of the value in the longer of their bars, 0 to 1; None where there are no numbers.
        picture: Of the signal by day; None where it is not known.
        page: Where browsers find the look's report; empty where that is not known.
    """

    entry: Entry
    alarm: Alarm | None
    followed: tuple[tuple[int, Entry], ...]
    shares: tuple[float, float] | None
    picture: CoursePicture | None
    page: str

    @property
    def is_on(self) -> bool:
        """Whether it is not over yet."""
        return self.entry.state == ON


def show_status(
    settings: Settings,
    model: ModelInfo,
    timeline: TimelineInfo,
    experiments: ExperimentsInfo,
    now: datetime | None = None,
) -> str:
    """The page, as HTML.

    Args:
        settings: Of the shop; they say where the other parts of the platform are.
        now: Aware; the present by default.
    """
    now = now or datetime.now(UTC)
    manifest = model.manifest or {}
    entries = timeline.entries
    reports = settings.platform.page_of("reports")
    cards = [_card(entry, entries, reports) for entry in reversed(entries) if entry.kind == "alarm"]
    return render(
        settings,
        "status.html.j2",
        "status",
        model=model,
        data=manifest.get("data", {}),
        measures=_measures(manifest.get("metrics", {})),
        problems=[
            *filter(None, (model.problem, model.store_problem, model.changes_problem)),
            *filter(None, (timeline.problem, experiments.problem)),
            *model.experiment_problems,
        ],
        running=[one for one in experiments.experiments if one.state != "stopped"],
        pinned=experiments.pinned,
        on=[card for card in cards if card.is_on],
        over=[card for card in cards if not card.is_on],
        entries=list(reversed(entries)),
        shown={entry.id for entry in entries},
        picture=draw(entries, now),
        tone_of=tone_of,
        now=f"{now:%Y-%m-%d %H:%M} UTC",
    )


def _measures(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    return [(name, value) for name, value, _ in headline(metrics)][:_MEASURES]


def _card(entry: Entry, entries: Sequence[Entry], reports: str) -> AlarmCard:
    try:
        alarm = Alarm.model_validate(entry.details.get("alarm"))
    except ValidationError:
        alarm = None
    shares = None
    if alarm is not None and alarm.value is not None and alarm.reference is not None:
        most = max(abs(alarm.value), abs(alarm.reference))
        shares = (abs(alarm.reference) / most, abs(alarm.value) / most) if most else None
    picture = draw_course(alarm) if alarm is not None else None
    page = report_address(reports, entry.details.get(PAGE))
    return AlarmCard(entry, alarm, tuple(_followed(entry.id, entries)), shares, picture, page)


def _followed(cause: int, entries: Sequence[Entry], steps: int = 0) -> list[tuple[int, Entry]]:
    """What an entry led to, and what that led to."""
    found = []
    for entry in entries:
        if entry.cause == cause and entry.id > cause:
            found += [(steps, entry), *_followed(entry.id, entries, steps + 1)]
    return found
