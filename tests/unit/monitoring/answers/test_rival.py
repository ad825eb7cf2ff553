"""The lead of a bundle over neighbours that learn anew: what they know, what it is, and when it is lost."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from core.alarms import Alarm
from monitoring.answers.replay import ReplayDay
from monitoring.answers.replayed import below_promise, lost_lead, replay_series
from monitoring.answers.rival import Neighbours, fit_neighbours
from monitoring.answers.staleness import STALE, Learned, with_staleness
from monitoring.calibration import measure
from monitoring.signals.activity import Span
from monitoring.verdict import judge
from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from tests.unit.monitoring.answers.test_replay import BUNDLE, Alphabet, _clean, replay_new

SPAN = Span(datetime(2026, 6, 1, tzinfo=UTC), 200)
LEARNED_DAYS_AGO = 170


def _user(*items: str) -> UserState:
    return UserState(items=items, values=(None,) * len(items), events=("view",) * len(items))


def _order(neighbours: Neighbours, *items: str) -> list[str]:
    (scores,) = neighbours.scores([_user(*items)])
    found = [neighbours.ids.item_ids[place] for place in np.argsort(-scores, kind="stable")]
    return found[: int(np.isfinite(scores).sum())]


HAD = [["tea", "pot"]] * 3 + [["pen", "ink"]] * 4 + [["pen", "pot"]]


def test_neighbours_rank_what_goes_together_first_and_what_is_popular_for_a_stranger() -> None:
    neighbours = Neighbours(HAD, IdMap(("tea", "pot", "pen", "ink")))
    assert _order(neighbours, "tea")[0] == "pot"
    assert _order(neighbours, "ink")[0] == "pen"
    assert _order(neighbours, "never seen")[0] == "pen"
    assert "tea" not in _order(neighbours, "tea")


def test_neighbours_rank_the_items_that_they_are_given_and_what_nobody_had_last() -> None:
    neighbours = Neighbours(HAD, IdMap(("cup", "ink", "pot")))
    assert _order(neighbours, "tea") == ["pot", "cup", "ink"]  # cup and ink as good as each other
    assert _order(neighbours, "never seen") == ["ink", "pot", "cup"]
    assert _order(neighbours, "pot") == ["cup", "ink"]


def test_neighbours_hold_no_scores_of_items_that_are_not_ranked() -> None:
    n_users, n_items = 200, 5000
    neighbours = Neighbours([[f"i{n}", f"i{(n + 1) % n_items}"] for n in range(n_items)], IdMap(("i7", "i9")))
    users = [_user(f"i{n}") for n in range(n_users)]
    tracemalloc.start()
    try:
        scores = neighbours.scores(users)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (scores.shape, scores[8].argmax()) == ((n_users, 2), 0)
    assert most < n_users * n_items  # bytes: a quarter of the scores of all of them in single precision


def test_neighbours_know_nothing_of_the_day_itself() -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            """CREATE TABLE events AS SELECT * FROM (VALUES
            ('u', 'a', TIMESTAMPTZ '2026-03-01 23:59:59Z'), ('u', 'b', TIMESTAMPTZ '2026-03-02 00:00:00Z'))
            AS t(user_id, item_id, timestamp)"""
        )
        neighbours = fit_neighbours(connection, date(2026, 3, 2), IdMap(("a", "b")))
        assert neighbours is not None
        assert neighbours.scores([_user("x")]).tolist() == [[1, 0]]
        assert fit_neighbours(connection, date(2026, 3, 1), IdMap(("a", "b"))) is None


def test_the_lead_is_what_a_bundle_ranks_above_neighbours_for_the_same_user_and_items(tmp_path: Path) -> None:
    # All who had g had h too; the bundle goes by the alphabet, in which h is the last.
    known = [(f"u{n}", item, -3.0, "view") for n in range(5) for item in "gh"]
    known += [(f"u{n}", item, -3.0, "view") for n in range(5, 9) for item in "abcd"]
    clean = _clean(
        tmp_path / "clean", [*known, ("x", "g", -1.0, "view"), ("x", "h", 1.2, "view"), ("x", "h", 2.1, "view")]
    )
    (tuesday,) = replay_new(tmp_path / "kept", clean, Alphabet(), BUNDLE)
    assert tuesday.figures["rank"] == (1, 0, 0)  # the last of all
    assert tuesday.lead == (1, -1, 1)  # neighbours have it first


def _growing_shop(n_days: int, n_learned: int) -> list[tuple[str, str, float, str]]:
    """Two tastes that never change; once a bundle has learned, one event in 25 is of an item that came since.

    It has learned from so much that more of the same teaches nothing.
    """
    rng, events = np.random.default_rng(5), []
    for day in range(-n_learned, n_days):
        for user in range(4 * day, 4 * day + 40):  # of whom four go and four come each day
            taste = user % 2 if rng.random() < 0.85 else 1 - user % 2
            item = f"old{taste}-{int(60 * rng.random() ** 1.5)}"
            if day > 0 and rng.random() < 0.04:
                item = f"new{user % 2}-{rng.integers(3 * day)}"
            events.append((f"user{user}", item, day + rng.random(), "view"))
    return events


def test_new_items_cost_a_bundle_no_lead_while_taste_is_as_it_was(tmp_path: Path) -> None:
    events = _growing_shop(n_days=100, n_learned=200)
    learned: dict[str, list[str]] = {}
    for user, item, day, _ in events:
        if day < 0:
            learned.setdefault(user, []).append(item)
    ids = IdMap.shuffled((item for had in learned.values() for item in had), 0)
    bundle = Neighbours(list(learned.values()), ids)
    days = replay_new(tmp_path / "kept", _clean(tmp_path / "clean", events), bundle, BUNDLE)
    span = Span(datetime(2026, 6, 9, tzinfo=UTC), 120)
    assert days[-1].day == date(2026, 6, 8)
    (moved,) = lost_lead(days, span, span.n_days)
    assert moved.log_p > np.log(0.05)
    assert moved.value > moved.reference - 0.01


def test_an_item_that_the_bundle_does_not_know_is_in_no_lead(tmp_path: Path) -> None:
    known = [(f"u{n}", item, -3.0, "view") for n in range(5) for item in "gh"]
    asked = [("x", "g", -1.0, "view"), ("x", "h", 1.2, "view"), ("x", "new", 1.3, "view"), ("y", "g", -1.0, "view")]
    clean = _clean(tmp_path / "clean", [*known, *asked, ("y", "new", 1.4, "view"), ("x", "a", 2.1, "view")])
    (tuesday,) = replay_new(tmp_path / "kept", clean, Alphabet(), BUNDLE)
    assert tuesday.figures["rank"] == (2, 0, 0)
    assert tuesday.lead == (1, -1, 1)  # y took nothing that is asked about


def _aged(lead: float, *, first: float = 0.03, harder: float = 0.0, n: int = LEARNED_DAYS_AGO) -> list[ReplayDay]:
    """A bundle whose lead went from `first` to `lead` over its days, while items became so much harder to foresee."""
    rng, days = np.random.default_rng(8), []
    for back in reversed(range(n)):
        age = 1 - back / max(n - 1, 1)
        rank = np.clip(rng.normal(0.8 - harder * age, 0.2, 40) + rng.normal(0, 0.02), 0, 1)
        ahead = rng.normal(first + (lead - first) * age, 0.1, 40)
        sums = [(40.0, float(one.sum()), float((one**2).sum())) for one in (rank, ahead)]
        day = (SPAN.end - timedelta(days=back + 1)).date()
        days.append(ReplayDay(day=day, digest="d", promise={"rank": 0.8}, figures={"rank": sums[0]}, lead=sums[1]))
    return days


def _alarms(days: list[ReplayDay]) -> tuple[Alarm, ...]:
    moved = [one for series in replay_series(days, SPAN) for one in measure(series, SPAN.n_days, 168)]
    moved += [*below_promise(days, SPAN, SPAN.n_days), *lost_lead(days, SPAN, SPAN.n_days)]
    alarms = judge(moved, SPAN, SPAN.n_days, 0.05).alarms
    return with_staleness(alarms, Learned(SPAN.starts(0), SPAN.end - timedelta(days=LEARNED_DAYS_AGO)), SPAN.end)


def test_a_bundle_that_loses_its_lead_slowly_is_stale_though_its_reference_moves_with_it() -> None:
    alarms = _alarms(_aged(-0.03))
    assert [one.signal for one in alarms] == [STALE, "quality.replay.lead"]
    assert "lower where the bundle in service ranks than where item neighbours do" in alarms[1].says
    assert alarms[1].says.endswith("% of the catalogue higher.")


@pytest.mark.parametrize("days", [_aged(0.03), _aged(0.06), _aged(0.02), _aged(0.03, harder=0.02), _aged(-0.03, n=41)])
def test_a_lead_that_is_kept_or_young_or_nearly_kept_is_no_alarm(days: list[ReplayDay]) -> None:
    assert _alarms(days) == ()


def test_only_days_of_the_newest_bundle_count() -> None:
    old = [one.model_copy(update={"digest": "old"}) for one in _aged(-0.03)[:-20]]
    assert list(lost_lead([*old, *_aged(-0.03)[-20:]], SPAN, SPAN.n_days)) == []
    assert list(lost_lead([one.model_copy(update={"lead": None}) for one in _aged(-0.03)], SPAN, SPAN.n_days)) == []
    assert list(lost_lead([], SPAN, SPAN.n_days)) == []
