"""Items that users take and the bundle does not know: what is counted, when it is an alarm, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.alarms import Alarm
from core.settings.loop import RetrainingSettings
from monitoring.answers import replayed
from monitoring.answers.replay import STORE, ReplayDay
from monitoring.answers.replayed import below_promise, lacks_items, lost_lead, replay_series, up_to_served
from monitoring.answers.staleness import STALE, UNKNOWN_SHARE, Learned, with_staleness
from monitoring.answers.unknown_items import GROUPS
from monitoring.calibration import measure
from monitoring.decisions import Evidence, OnAlarm, decide
from monitoring.looks import unquiet_windows
from monitoring.signals.activity import Span
from monitoring.verdict import judge
from tests.unit.monitoring.answers.test_replay import BUNDLE, EVENTS, ITEMS, MONDAY, Alphabet, _clean, replay_new

SPAN = Span(datetime(2026, 6, 1, tzinfo=UTC), 200)
USERS = 60


def test_each_user_of_a_day_counts_once_by_the_share_of_unknown_items_among_what_they_take(tmp_path: Path) -> None:
    tuesday, wednesday = replay_new(tmp_path / "kept", _clean(tmp_path / "clean", EVENTS), Alphabet(), BUNDLE)
    # u took d and z, which is unknown; what u had before and what was merely shown are not taken. A stranger counts.
    assert tuesday.unknown == (3, 0.5, 0.25)
    assert wednesday.unknown == (1, 0, 0)
    assert (tuesday.age_days, wednesday.age_days) == (1, 2)
    assert np.sum(tuesday.unknown_groups, axis=0).tolist() == [3, 0.5]
    # u comes on both days, and is in one group.
    [group] = [place for place, (_, total) in enumerate(tuesday.unknown_groups) if total]
    assert wednesday.unknown_groups[group] == (1, 0)


def test_days_before_a_catalogue_was_made_say_nothing_of_when_it_was_new(tmp_path: Path) -> None:
    later = replace(BUNDLE, catalogue_until=MONDAY + timedelta(days=1, hours=5))
    tuesday, wednesday = replay_new(tmp_path / "kept", _clean(tmp_path / "clean", EVENTS), Alphabet(), later)
    assert (tuesday.age_days, wednesday.age_days) == (0, 1)
    all_known, new, old = _days([0.0] * 40, ends=70, age=-39), _days([0.2] * 40, ends=30), _days([0.2] * 30, age=41)
    [moved] = lacks_items([*all_known, *new, *old], SPAN, SPAN.n_days)
    assert moved.reference == pytest.approx(0.2, abs=0.03)
    assert _alarms([*all_known, *new, *old]) == ()


def test_a_flood_does_not_count_and_neither_does_anybody_who_was_erased(tmp_path: Path) -> None:
    flood = [("bot", ITEMS[n % 8] if n % 2 else f"z{n}", 1.2, "view") for n in range(200)]
    [day, _] = replay_new(tmp_path / "kept", _clean(tmp_path / "clean", [*EVENTS, *flood]), Alphabet(), BUNDLE)
    assert day.unknown == (3, 0.5, 0.25)
    left = [one for one in EVENTS if one[0] != "u"]
    [day, wednesday] = replay_new(tmp_path / "erased", _clean(tmp_path / "clean", left), Alphabet(), BUNDLE)
    assert day.unknown == (2, 0, 0)
    assert (wednesday.figures, wednesday.unknown) == ({}, None)  # nobody else came


def test_nobody_and_no_item_is_named_in_what_is_kept(tmp_path: Path) -> None:
    renamed = [(f"person-{user}", f"item-{item}", day, kind) for user, item, day, kind in EVENTS]
    [day, _] = replay_new(tmp_path / "kept", _clean(tmp_path / "clean", renamed), Alphabet(), BUNDLE)
    assert day.unknown == (3, 3, 3)
    kept = (tmp_path / "kept" / STORE).read_text()
    assert "person-" not in kept
    assert "item-" not in kept


def _unknown(lacking: float, users: int, rng: np.random.Generator) -> dict[str, Any]:
    """What a day keeps of so many users of whom so many take unknown items alone, others than on other days."""
    groups = np.zeros((GROUPS, 2))
    np.add.at(groups, rng.integers(0, GROUPS, users), np.column_stack([np.ones(users), np.arange(users) < lacking]))
    return {"unknown": (float(users), lacking, lacking), "unknown_groups": tuple(map(tuple, groups.tolist()))}


def _days(
    shares: Sequence[float], *, digest: str = "d", ends: int = 0, age: int = 1, users: int = USERS
) -> list[ReplayDay]:
    """Days of one bundle, the last one so many before the span's end: its rank and its lead stay as they are."""
    rng, days = np.random.default_rng(4), []
    for place, share in enumerate(shares):
        rank = np.clip(rng.normal(0.8, 0.2, users), 0, 1)
        sums = (float(users), float(rank.sum()), float((rank**2).sum()))
        lacking = float(rng.binomial(users, share))
        day = (SPAN.end - timedelta(days=ends + len(shares) - place)).date()
        days.append(
            ReplayDay(
                day=day, digest=digest, promise={"rank": 0.8}, figures={"rank": sums}, age_days=age + place,
                **_unknown(lacking, users, rng), lead=(float(users), 0.03 * users, 0.002 * users),
            )
        )  # fmt: skip
    return days


def _alarms(days: Sequence[ReplayDay]) -> tuple[Alarm, ...]:
    moved = [one for series in replay_series(days, SPAN) for one in measure(series, SPAN.n_days, 168)]
    for ask in (below_promise, lost_lead, lacks_items):
        moved += ask(days, SPAN, SPAN.n_days)
    alarms = judge(moved, SPAN, SPAN.n_days, 0.05).alarms
    learned = SPAN.end - timedelta(days=days[-1].age_days or 170)
    return with_staleness(alarms, Learned(SPAN.starts(0), learned), SPAN.end)


def _grows(to: float, n: int = 140) -> list[float]:
    return list(np.linspace(0.01, to, n))


def test_a_bundle_that_lacks_what_users_take_is_stale_though_it_ranks_what_it_knows_as_before() -> None:
    stale, lacking = _alarms(_days(_grows(0.3)))
    assert (stale.signal, lacking.signal, lacking.family) == (STALE, UNKNOWN_SHARE, "quality")
    assert (lacking.value, lacking.reference) == (pytest.approx(0.27, abs=0.02), pytest.approx(0.02, abs=0.01))
    assert lacking.says == (
        f"Of what users took in the last 28 days, {lacking.value:.1%} were items that the bundle in service does not "
        f"know and cannot recommend; when it was new, {lacking.reference:.1%}."
    )
    assert stale.says.endswith(lacking.says)


def test_it_is_retrained_for_them_after_a_few_events_and_not_without_any() -> None:
    alarms = tuple(OnAlarm(alarm=one, looks=2) for one in _alarms(_days(_grows(0.3))))
    asked = Evidence(now=SPAN.end, alarms=alarms, new_events=10, known_events=100_000, last_full_at=SPAN.end)
    decided = decide(asked, RetrainingSettings())
    assert decided.action == "fine-tune"
    assert (
        f"as it would know items that users take and that cannot be recommended yet ({UNKNOWN_SHARE})" in decided.reason
    )
    assert decide(asked.model_copy(update={"new_events": 0}), RetrainingSettings()).rule == "nothing to gain"


NOTHING: dict[str, Any] = {"unknown": None, "unknown_groups": ()}


def _monthly(to: float) -> list[ReplayDay]:
    """Bundles that learn anew each four weeks, each of which comes to lack so much."""
    return [
        one for place in range(5) for one in _days(_grows(to, 28), digest=f"d{place}", ends=28 * (4 - place))
    ]  # fmt: skip


def _with_empty_days(days: list[ReplayDay]) -> list[ReplayDay]:
    return [one for one in days if one.day.weekday() < 2]


QUIET = {
    "no item is new": _days([0.0] * 140),
    "as much is unknown as when it was new": _days([0.1] * 140),
    "hardly more is unknown": _days(_grows(0.03)),
    "it learns anew in time": _monthly(0.3),
    "it is young": _days(_grows(0.3, 41)),
    "it was just promoted": [*_days(_grows(0.3, 139), digest="old", ends=1), *_days([0.3])],
    "few days have events": _with_empty_days(_days(_grows(0.3, 60))),
    "few users come": _days(_grows(0.3), users=5),
    "nothing was kept of it": [one.model_copy(update=NOTHING) for one in _days(_grows(0.3))],
}


@pytest.mark.parametrize("days", QUIET.values(), ids=QUIET)
def test_there_is_no_alarm_where(days: list[ReplayDay]) -> None:
    assert _alarms(days) == ()


def test_days_without_any_event_are_left_out_of_both_sides() -> None:
    days = _days(_grows(0.3))
    some = [one for one in days if one.day.weekday() < 5]
    assert {one.signal for one in _alarms(some)} == {STALE, UNKNOWN_SHARE}
    silent = [one.model_copy(update=NOTHING) if one.day.weekday() > 4 else one for one in days]
    assert [one.value for one in lacks_items(silent, SPAN, SPAN.n_days)] == [
        one.value for one in lacks_items(some, SPAN, SPAN.n_days)
    ]


def test_what_came_after_a_bundles_first_two_weeks_is_in_no_reference_of_its_own_or_of_a_late_bundle() -> None:
    ages = _days([*[0.0] * 14, *[0.3] * 46])
    [own] = lacks_items(ages, SPAN, SPAN.n_days)
    assert (own.reference, own.value) == (0, pytest.approx(0.3, abs=0.03))
    before = _days([*[0.0] * 14, *[0.3] * 46], digest="old", ends=60)
    [late] = lacks_items([*before, *_days([0.3] * 60, age=40)], SPAN, SPAN.n_days)
    assert late.reference == 0


def test_a_late_bundle_is_held_against_the_newest_of_those_that_came_in_time() -> None:
    late = _days([0.3] * 60, age=40)
    weekly = [
        one for place in range(4) for one in _days([place / 10] * 7, digest=f"d{place}", ends=101 - 7 * place)
    ]  # fmt: skip
    as_late = _days([0.5] * 20, digest="as late", ends=60, age=40)
    days = [*weekly, *as_late, *late]
    [moved] = lacks_items(days, SPAN, SPAN.n_days)
    assert moved.reference == pytest.approx(0.25, abs=0.03)  # of the last two weekly ones
    [alone] = lacks_items([*as_late, *late], SPAN, SPAN.n_days)
    assert alone.reference == pytest.approx(0.3, abs=0.05)  # its own first two weeks


def test_a_bundle_that_came_into_service_late_is_held_against_what_those_before_it_lacked_when_new() -> None:
    late = _days([0.2] * 60, age=40)
    before = _days(_grows(0.02, 60), digest="old", ends=60, users=600)
    assert _alarms(late) == ()  # against its own first weeks, in which it was old
    [moved] = lacks_items([*before, *late], SPAN, SPAN.n_days)
    assert moved.reference == pytest.approx(np.mean([0.01, 0.0122]), abs=0.004)
    assert [one.signal for one in _alarms([*before, *late])][:2] == [STALE, UNKNOWN_SHARE]
    in_time = _days([0.2] * 60, age=10)
    assert UNKNOWN_SHARE not in {one.signal for one in _alarms([*before, *in_time])}


def test_what_a_replaced_bundle_lacked_is_told_of_no_other() -> None:
    old, new = _days(_grows(0.3, 130), digest="old", ends=10), _days([0.0] * 10, digest="new")
    assert up_to_served(old, "new") == up_to_served(old, None) == up_to_served([], "new") == ()
    assert up_to_served([*old, *new], "new") == [*old, *new]
    # The new one was taken back: the old one lacks what it lacked, without a new day of its own.
    assert up_to_served([*old, *new], "old") == old
    [moved] = lacks_items(up_to_served([*old, *new], "old"), SPAN, SPAN.n_days)
    assert moved.value == pytest.approx(np.mean(_grows(0.3, 130)[-18:]), abs=0.03)


def test_nothing_is_said_before_anything_was_replayed() -> None:
    assert list(lacks_items([], SPAN, SPAN.n_days)) == []
    assert list(lacks_items(_days([0.3] * 10, ends=100), SPAN, SPAN.n_days)) == []


def test_without_tolerance_a_steady_share_is_found_to_move_as_often_as_the_test_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replayed, "LACKED", 0.0)
    rng, found, days = np.random.default_rng(9), [], _days([0.1] * 140)
    for _ in range(1000):
        drawn = rng.binomial(USERS, np.clip(rng.normal(0.1, 0.03, 140), 0, 1)).astype(float)
        told = [one.model_copy(update=_unknown(n, USERS, rng)) for one, n in zip(days, drawn, strict=True)]
        [moved] = lacks_items(told, SPAN, SPAN.n_days)
        found.append(moved.log_p)
    assert 0.005 <= np.mean(np.array(found) < np.log(0.01)) <= 0.015


def test_regulars_who_try_what_is_new_count_once_however_often_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """One user in ten takes nothing but what is new, always; who comes often then is another one than who does now."""
    monkeypatch.setattr(replayed, "LACKED", 0.0)
    rng, found, days = np.random.default_rng(12), [], _days([0.1] * 60)
    groups = np.arange(400) % GROUPS
    for _ in range(600):
        tries, often = rng.random(400) < 0.1, rng.beta(0.2, 0.8, (2, 400))
        comes = rng.random((60, 400)) < often[(np.arange(60) >= 32).astype(int)]
        told = []
        for one, came in zip(days, comes, strict=True):
            sums = np.zeros((GROUPS, 2))
            np.add.at(sums, groups[came], np.column_stack([np.ones(came.sum()), tries[came]]))
            (n, lacking), of_groups = sums.sum(axis=0), tuple(map(tuple, sums.tolist()))
            told.append(one.model_copy(update={"unknown": (n, lacking, lacking), "unknown_groups": of_groups}))
        [moved] = lacks_items(told, SPAN, SPAN.n_days)
        found.append(moved.log_p)
    assert np.mean(np.array(found) < np.log(0.01)) <= 0.02


def test_its_alarm_takes_no_day_out_of_what_other_signals_are_held_against() -> None:
    _, lacking = _alarms(_days(_grows(0.3)))
    assert unquiet_windows([lacking]) == ()
    other = lacking.model_copy(update={"signal": "data.items.price.level"})
    assert len(unquiet_windows([lacking, other])) == 1
