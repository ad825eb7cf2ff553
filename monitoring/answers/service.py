"""Signals of the service: how much it is asked, what it fails at, what it has to refuse as too much at once, and how
much of what the reviews praise that it writes is supported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from core.logs.answered import PRAISE, read_answered
from core.settings.form import Frozen
from core.storage import atomic_file
from monitoring.answers.signals import NEEDED_DAYS, last_whole_day
from monitoring.signals.activity import Span
from monitoring.signals.data import weekly_habit
from monitoring.signals.series import Series

STORE = "service.json"
KEPT_DAYS = 400
_LATE = timedelta(minutes=10)  # counts are written every so often: twice the most of `serving.answered.every_s`
_OTHER = "other"  # probes, pages and made-up paths: their number says nothing of the shop


class ServiceDay(Frozen):
    """The requests of one day, those of pages and probes left out.

    Attributes:
        day: UTC.
        requests: All.
        failed: Answered with a status from 500 on.
        limited: Answered 429, as too many at once; not where one caller asked too often.
        praised: Aspects that written reviews praised, each once per review.
        supported: Those of them that several reviewers of the item praise, or that its text says.
    """

    day: date
    requests: int
    failed: int = 0
    limited: int = 0
    praised: int = 0
    supported: int = 0


_DAYS = TypeAdapter(list[ServiceDay])


def read_service_days(folder: Path) -> list[ServiceDay]:
    """What was summed up, the oldest day first."""
    path = folder / STORE
    return _DAYS.validate_json(path.read_bytes()) if path.exists() else []


def sum_up_service(
    folder: Path, answered: Path, counts_kept_days: float, now: datetime | None = None
) -> list[ServiceDay]:
    """Sum up the days that are over, and keep them; the same days again change nothing.

    A day without any count is one without requests only while its counts would still be there. Of an older one nothing
    is known, and nothing is kept.

    Args:
        folder: Where the sums are kept.
        answered: The folder of the service's counts.
        counts_kept_days: For how long the service keeps them (`serving.answered.days`).
        now: This moment, by default.
    Returns:
        All that is kept, the oldest day first.
    """
    known = read_service_days(folder)
    now = now or datetime.now(UTC)
    until = (now - _LATE).astimezone(UTC).date()
    counted = read_answered(answered)
    # The day on which the counts begin is not whole.
    first = known[0].day if known else min(counted, default=until) + timedelta(days=1)
    found = {day: _day(day, endpoints) for day, endpoints in counted.items() if first <= day < until}
    # Counts go when their day lies before this one.
    there_from = max(now.astimezone(UTC).date() - timedelta(days=counts_kept_days), first)
    empty = [there_from + timedelta(days=n) for n in range(max((until - there_from).days, 0))]
    merged = {day: ServiceDay(day=day, requests=0) for day in empty} | found
    for one in known:  # of a day of which some counts have gone, the sums of before are the whole
        if one.day not in merged or one.requests > merged[one.day].requests:
            merged[one.day] = one
    oldest = until - timedelta(days=KEPT_DAYS)
    days = [merged[day] for day in sorted(merged) if day >= oldest]
    if days != known:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / STORE) as temporary:
            temporary.write_bytes(_DAYS.dump_json(days))
    return days


def _day(day: date, endpoints: dict[str, dict[str, int]]) -> ServiceDay:
    outcomes = [found for endpoint, found in endpoints.items() if endpoint not in (_OTHER, PRAISE)]
    failed, limited = (sum(found.get(name, 0) for found in outcomes) for name in ("failed", "limited"))
    praise = endpoints.get(PRAISE, {})
    return ServiceDay(
        day=day,
        requests=sum(sum(found.values()) for found in outcomes),
        failed=failed,
        limited=limited,
        praised=sum(praise.values()),
        supported=praise.get("supported", 0),
    )


def service_note(days: Sequence[ServiceDay], span: Span) -> str:
    """Why the service's load and errors are not watched, a sentence; empty where they are."""
    what = "load and errors of the service"
    if not days:
        return f"Not watched: {what}. No whole day of requests was counted."
    n = (last_whole_day(span) - days[0].day).days + 1
    if n >= NEEDED_DAYS:
        return ""
    return f"Not watched yet: {what}. Requests are counted for {max(n, 0)} days; a quiet past takes {NEEDED_DAYS}."


def service_series(days: Sequence[ServiceDay], span: Span) -> list[Series]:
    """All of them; none where nothing was counted within the span. A day that was not summed up is not observed."""
    last = last_whole_day(span)
    placed = [(span.n_days - 1 - (last - one.day).days, one) for one in days]
    within = [(place, one) for place, one in placed if 0 <= place < span.n_days]
    if not within:
        return []
    begins = within[0][0]
    cells, is_known = np.zeros((span.n_days - begins, 5)), np.zeros(span.n_days - begins, dtype=bool)
    for place, one in within:
        cells[place - begins] = one.requests, one.failed, one.limited, one.praised, one.supported
        is_known[place - begins] = True
    requests = cells[:, 0]
    load = weekly_habit(cells[:, :1], is_known) * is_known
    return [
        Series(
            "service.requests.load", "service", "rate", load, cells[:, :1], least=20, unit="a day", begins=begins
        ),
        Series(
            "service.requests.failed_share", "service", "rate", requests, cells[:, 1:2],
            is_share=True, worse="higher", begins=begins, consequence=0,
        ),
        Series(
            "service.requests.limited_share", "service", "rate", requests, cells[:, 2:3],
            is_share=True, worse="higher", begins=begins, consequence=3,
        ),
        *_praise_series(cells[:, 3:], begins),
    ]  # fmt: skip


def _praise_series(cells: np.ndarray, begins: int) -> Iterator[Series]:
    """From the first day on which a written review praised anything.

    Args:
        cells: Of each day from `begins` on, what was praised, and what of it is supported. Shape (n_days, 2).
    """
    first = int(np.argmax(cells[:, 0] > 0))
    if cells[first, 0]:
        praised, supported = cells[first:, 0], cells[first:, 1:]
        yield Series(
            "service.texts.supported_share", "service", "rate", praised, supported,
            is_share=True, worse="lower", begins=begins + first, consequence=3,
        )  # fmt: skip
