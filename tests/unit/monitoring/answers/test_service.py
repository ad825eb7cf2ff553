"""Signals of the service: failures, refusals and load that moved are found, and quiet days have no alarm."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from core.alarms import Alarm
from core.logs.answered import PRAISE
from core.settings.loop import RetrainingSettings
from core.settings.monitoring import AnswerCountSettings
from monitoring.answers.service import (
    ServiceDay,
    read_service_days,
    service_note,
    service_series,
    sum_up_service,
)
from monitoring.answers.signals import NEEDED_DAYS
from monitoring.calibration import measure
from monitoring.decisions import Evidence, OnAlarm, decide
from monitoring.signals.activity import Span
from monitoring.verdict import judge

SPAN = Span(datetime(2026, 6, 1, 14, tzinfo=UTC), 160)
LAST = date(2026, 5, 31)


def _days(n: int = 140, *, turn: int = 7, load: float = 1.0, failed: float = 0.0005, limited: float = 0.001) -> list:  # type: ignore[type-arg]
    """Busy on weekdays, one day more than another; in the newest `turn` days as told."""
    rng = np.random.default_rng(4)
    days = []
    for back in reversed(range(n)):
        day, is_moved = LAST - timedelta(days=back), back < turn
        usual = 20_000 * (1.3 if day.weekday() < 5 else 0.6) * rng.lognormal(0, 0.08)
        requests = int(usual * (load if is_moved else 1.0))
        shares = (failed, limited) if is_moved else (0.0005, 0.001)
        counts = [int(rng.poisson(requests * share * rng.lognormal(0, 0.3))) for share in shares]
        days.append(ServiceDay(day=day, requests=requests, failed=counts[0], limited=counts[1]))
    return days


def _alarms(days: list[ServiceDay]) -> tuple[Alarm, ...]:
    moved = [one for series in service_series(days, SPAN) for one in measure(series, SPAN.n_days, 168)]
    return judge(moved, SPAN, SPAN.n_days, 0.05).alarms


def test_quiet_days_have_no_alarm_though_each_is_busier_or_less_so_than_chance_has_it() -> None:
    assert _alarms(_days()) == ()


@pytest.mark.parametrize(
    ("moved", "signal", "says"),
    [
        ({"failed": 0.02}, "service.requests.failed_share", "failed, 0.0"),
        ({"limited": 0.05}, "service.requests.limited_share", "refused as too many at once"),
        ({"load": 3.0}, "service.requests.load", "requests a day in the last"),
        ({"load": 0.2}, "service.requests.load", "requests a day in the last"),
    ],
)
def test_what_moved_is_named_first(moved: dict[str, float], signal: str, says: str) -> None:
    first = _alarms(_days(**moved))[0]  # type: ignore[arg-type]
    assert (first.signal, first.family, first.broken) == (signal, "service", False)
    assert says in first.says


def test_fewer_failures_are_no_alarm() -> None:
    assert _alarms(_days(failed=0.0, limited=0.0)) == ()


def test_a_service_that_never_failed_and_now_does_is_found() -> None:
    days = [one.model_copy(update={"failed": 0}) for one in _days()]
    days[-1] = days[-1].model_copy(update={"failed": 40})
    assert [one.signal for one in _alarms(days)] == ["service.requests.failed_share"]


def _praising(days: list[ServiceDay], share: float, *, turn: int = 7, from_day: int = 0) -> list[ServiceDay]:
    """Each day some reviews are written, of which eight in ten say what is supported; of the newest days so many."""
    rng, found = np.random.default_rng(5), []
    for place, one in enumerate(days):
        praised = int(rng.poisson(80 * rng.lognormal(0, 0.3))) if place >= from_day else 0
        usual = np.clip(rng.normal(0.8, 0.03), 0, 1)
        supported = int(rng.binomial(praised, share if len(days) - place <= turn else usual))
        found.append(one.model_copy(update={"praised": praised, "supported": supported}))
    return found


@pytest.mark.parametrize("begins", [0, 20])
def test_written_reviews_that_praise_what_nobody_does_are_found(begins: int) -> None:
    """Their writer went into service late: days before it was there are no days without support."""
    assert _alarms(_praising(_days(), 0.8, from_day=begins)) == ()
    assert _alarms(_praising(_days(), 1.0, from_day=begins)) == ()
    (found,) = _alarms(_praising(_days(), 0.55, from_day=begins))
    assert (found.signal, found.family, found.broken) == ("service.texts.supported_share", "service", False)
    assert found.says == (
        f"Written reviews: {found.value:.1%} of what they praise in the last {found.window_days} days is what several "
        f"reviewers of the item praise or its text says, {found.reference:.1%} before."
    )
    (series,) = (one for one in service_series(_praising(_days(), 0.8, from_day=begins), SPAN) if "texts" in one.name)
    assert (series.begins, series.n_days) == (20 + begins, 140 - begins)


def test_where_no_review_is_written_nothing_is_said_of_them() -> None:
    assert not [one for one in service_series(_days(), SPAN) if "texts" in one.name]


def test_a_broken_writer_starts_no_retraining() -> None:
    """A new bundle's writer may be the cause; the gate holds writers against each other, and a person decides."""
    alarms = tuple(OnAlarm(alarm=one, looks=3) for one in _alarms(_praising(_days(), 0.3)))
    asked = Evidence(now=SPAN.end, alarms=alarms, new_events=10_000, known_events=10_000, last_full_at=SPAN.end)
    assert len(alarms) == 1
    assert decide(asked, RetrainingSettings()).rule == "service"


def _count(folder: Path, day: str, process: str, endpoints: dict[str, dict[str, int]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{day}.{process}.json").write_text(json.dumps(endpoints))


def test_days_that_are_over_are_summed_up_and_outlast_the_counts(tmp_path: Path) -> None:
    counts, watched = tmp_path / "answered", tmp_path / "watched"
    for day in (1, 2, 3, 4):
        told = {"/v1/recommend": {"ok": 90, "failed": day}, "/v1/events": {"limited": 5}, "other": {"failed": 1000}}
        told[PRAISE] = {"supported": 3, "unsupported": day}
        for process in "ab":
            _count(counts, f"2026-05-0{day}", process, told)
    now = datetime(2026, 5, 4, 12, tzinfo=UTC)
    expected = [
        # The first day is not whole, and the last one not over.
        ServiceDay(
            day=date(2026, 5, day),
            requests=2 * (95 + day),
            failed=2 * day,
            limited=10,
            praised=2 * (3 + day),
            supported=6,
        )
        for day in (2, 3)
    ]
    assert sum_up_service(watched, counts, 30, now) == expected
    for path in counts.iterdir():
        path.unlink()
    assert sum_up_service(watched, counts, 30, now) == expected == read_service_days(watched)


def test_a_day_whose_counts_have_gone_in_part_keeps_the_sums_of_the_whole(tmp_path: Path) -> None:
    counts, now = tmp_path / "answered", datetime(2026, 5, 3, 12, tzinfo=UTC)
    for day in ("2026-05-01", "2026-05-02"):
        for process in "ab":
            _count(counts, day, process, {"/v1/score": {"ok": 100}})
    whole = [ServiceDay(day=date(2026, 5, 2), requests=200)]
    assert sum_up_service(tmp_path, counts, 30, now) == whole
    (counts / "2026-05-02.a.json").unlink()
    assert sum_up_service(tmp_path, counts, 30, now) == whole == read_service_days(tmp_path)
    _count(counts, "2026-05-02", "c", {"/v1/score": {"ok": 150}})  # counts that came late
    assert [one.requests for one in sum_up_service(tmp_path, counts, 30, now)] == [250]


def test_a_day_without_counts_is_without_requests_only_while_they_would_still_be_there(tmp_path: Path) -> None:
    counts = tmp_path / "answered"
    for day in ("2026-05-01", "2026-05-02"):
        _count(counts, day, "a", {"/v1/score": {"ok": 1}})
    assert len(sum_up_service(tmp_path, counts, 2, datetime(2026, 5, 3, 12, tzinfo=UTC))) == 1
    days = sum_up_service(tmp_path, counts, 2, datetime(2026, 5, 9, 12, tzinfo=UTC))
    assert [(one.day.day, one.requests) for one in days] == [(2, 1), (7, 0), (8, 0)]


def test_a_day_that_was_not_summed_up_is_no_loss_of_load() -> None:
    assert _alarms(_days()[:-1]) == ()  # a look just after midnight
    days = _days()
    assert _alarms(days[:-20] + days[-6:]) == ()  # whose counts went before a look
    gone = [one.model_copy(update={"requests": 0, "failed": 0, "limited": 0}) for one in days[-1:]]
    assert [one.signal for one in _alarms(days[:-1] + gone)] == ["service.requests.load"]


def test_counts_are_written_before_their_day_is_summed_up() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 300"):
        AnswerCountSettings(every_s=3600)
    assert AnswerCountSettings(every_s=300).every_s == 300


def test_a_day_is_over_only_when_its_counts_are_written(tmp_path: Path) -> None:
    for day in ("2026-05-01", "2026-05-02"):
        _count(tmp_path / "answered", day, "a", {"/v1/score": {"ok": 1}})
    midnight = datetime(2026, 5, 3, tzinfo=UTC)
    assert sum_up_service(tmp_path, tmp_path / "answered", 30, midnight + timedelta(minutes=1)) == []
    assert len(sum_up_service(tmp_path, tmp_path / "answered", 30, midnight + timedelta(minutes=11))) == 1


def test_what_is_not_watched_is_told() -> None:
    assert "No whole day of requests was counted" in service_note([], SPAN)
    assert f"counted for 30 days; a quiet past takes {NEEDED_DAYS}" in service_note(_days(30), SPAN)
    assert service_note(_days(), SPAN) == ""
    assert service_series([], SPAN) == []
