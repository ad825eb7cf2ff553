"""Ratings foreseen by the scorer in service: who is asked about, what is kept, and when it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.alarms import Alarm
from core.schema import TABLES
from core.settings.features import FeatureSettings
from features.point_in_time.states import StatesThen
from monitoring.answers import rated
from monitoring.answers.asked_days import Replayed, days_to_replay
from monitoring.answers.rated import BIAS, ERROR, RatedDay, rate, rated_series, read_rated_days
from monitoring.calibration import measure
from monitoring.extent import find_extent
from monitoring.signals.activity import FloodRule, Span
from monitoring.verdict import judge
from recommender.inputs.user import UserState
from recommender.scoring.input import ItemRatings

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
BUNDLE = Replayed("d1", MONDAY, {}, 3, FloodRule(20, 50))
SPAN = Span(datetime(2026, 6, 1, tzinfo=UTC), 160)


class Foresight:
    """Foresees four stars and a like of 0.75 for everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[UserState, str]] = []
        self.ratings: dict[str, list[tuple[float, float]]] = {}

    def predict(
        self, users: Sequence[UserState], item_ids: Sequence[str], ratings: ItemRatings | None
    ) -> tuple[np.ndarray, np.ndarray]:
        assert ratings is not None
        self.asked += zip(users, item_ids, strict=True)
        for item, mean, n in zip(item_ids, ratings.mean, ratings.n, strict=True):
            self.ratings.setdefault(item, []).append((float(mean), float(n)))
        return np.full(len(users), 0.75), np.full(len(users), 4.0)


def _clean(folder: Path, ratings: Sequence[tuple[str, str, float, float | None]]) -> Path:
    """Events as user, item, days after Monday, and rating; None: a view."""
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "event_id": f"e{n}", "user_id": user, "item_id": item, "event": "view" if value is None else "rating",
            "position": n, "timestamp": MONDAY + timedelta(days=days), "value": value,
        }
        for n, (user, item, days, value) in enumerate(ratings)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=TABLES["interactions"].arrow()), folder / "interactions.parquet")
    for name in ("items", "users", "feedback"):
        pq.write_table(TABLES[name].arrow().empty_table(), folder / f"{name}.parquet")  # type: ignore[index]
    return folder


def rate_new(folder: Path, clean: Path, scorer: Foresight, catalogue: str) -> list[RatedDay]:
    """Ask about what no bundle was asked about yet."""
    wanted = days_to_replay(find_extent(clean), read_rated_days(folder), MONDAY)
    return rate(folder, clean, StatesThen(clean, FeatureSettings()), scorer, BUNDLE, wanted, catalogue, 4.0)


EVENTS = (
    ("u", "a", -2.0, 5.0),
    ("w", "b", -1.0, None),
    ("u", "b", 1.2, 2.0),  # Tuesday
    ("w", "a", 1.3, 5.0),
    ("w", "b", 1.4, None),  # no rating
    ("new", "a", 1.1, 1.0),  # has no history
    ("u", "z", 2.2, 5.0),  # unknown to the bundle
    ("w", "c", 3.1, 1.0),  # Thursday, which is not over
)


def test_a_day_asks_for_ratings_of_users_with_a_history_as_the_day_began(tmp_path: Path) -> None:
    scorer, clean = Foresight(), _clean(tmp_path / "clean", EVENTS)
    tuesday, wednesday = rate_new(tmp_path / "kept", clean, scorer, "abc")
    assert (tuesday.day, tuesday.digest) == (date(2026, 3, 3), "d1")
    assert tuesday.figures[ERROR] == (2, 2 + 1, 4 + 1)
    assert tuesday.figures[BIAS] == pytest.approx((2, 0.75 - 0.25, 0.75**2 + 0.25**2))
    assert {(user.items, item) for user, item in scorer.asked} == {(("a",), "b"), (("b",), "a")}
    assert read_rated_days(tmp_path / "kept") == [tuesday, wednesday]
    again = Foresight()
    assert rate_new(tmp_path / "kept", clean, again, "abc") == [tuesday, wednesday]
    assert again.asked == []


def test_the_scorer_is_told_what_the_user_rated_before(tmp_path: Path) -> None:
    before = [("u", f"x{n}", -3.0 - n, 1.0) for n in range(11)]
    scorer = Foresight()
    rate_new(tmp_path / "kept", _clean(tmp_path / "clean", [*before, *EVENTS]), scorer, "abc")
    (user,) = (user for user, item in scorer.asked if item == "b")
    assert (user.n_ratings, user.mean_rating) == (12, 16 / 12)
    assert user.values[-1] == 5.0


def test_a_day_without_a_rating_to_ask_about_is_done_too(tmp_path: Path) -> None:
    clean = _clean(tmp_path / "clean", [*EVENTS, ("w", "c", 4.1, None), ("w", "c", 5.1, None)])
    days = rate_new(tmp_path / "kept", clean, Foresight(), "ab")
    # On Wednesday an item that the bundle does not know was rated, on Thursday too, and nothing on Friday.
    assert [(one.day.day, bool(one.figures)) for one in days] == [(3, True), (4, False), (5, False), (6, False)]
    assert days_to_replay(find_extent(clean), days, MONDAY) == []
    empty = [one for one in days if not one.figures]
    assert rated_series(empty, SPAN) == []
    assert [one.n_days for one in rated_series(days, SPAN)] == [90, 90]


def test_what_others_rated_until_the_day_began_is_told(tmp_path: Path) -> None:
    others = [("o1", "b", -5.0, 1.0), ("o2", "b", 0.5, 4.0), ("o3", "b", 1.05, 5.0), ("o4", "b", -4.0, None)]
    scorer = Foresight()
    rate_new(tmp_path / "kept", _clean(tmp_path / "clean", [*EVENTS, *others]), scorer, "abc")
    assert scorer.ratings == {"a": [(5.0, 1.0)], "b": [(2.5, 2.0)]}  # not those of the day itself


def test_the_scorer_of_a_bundle_is_told_of_an_item_that_nobody_rated(tmp_path: Path) -> None:
    scorer = Foresight()
    clean = _clean(tmp_path / "clean", [("u", "a", -2.0, None), ("u", "b", 1.2, 2.0), ("u", "a", 2.1, None)])
    rate_new(tmp_path / "kept", clean, scorer, "ab")
    ((mean, n),) = scorer.ratings["b"]
    assert np.isnan(mean)
    assert n == 0


def test_a_day_asks_a_sample_the_newest_day_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rated, "RATINGS_A_DAY", 5)
    monkeypatch.setattr(rated, "MAX_RATINGS", 7)
    known = [(f"u{n}", "a", -1.0, None) for n in range(20)]
    told = [(f"u{n}", "b", day + 0.5, 3.0) for day in (1, 2) for n in range(20)]
    clean = _clean(tmp_path / "clean", [*known, *told, ("u1", "a", 3.1, None)])
    (day,) = rate_new(tmp_path / "kept", clean, Foresight(), "ab")
    assert (day.day, day.figures[ERROR][0]) == (date(2026, 3, 4), 5)
    both = rate_new(tmp_path / "kept", clean, Foresight(), "ab")
    assert [one.day.day for one in both] == [3, 4]


def _days(off: float = 0.8, bias: float = 0.0) -> list[RatedDay]:
    """140 days; in the newest 14 the scorer is off by so much, and foresees likes so much too often."""
    rng, days = np.random.default_rng(6), []
    for back in reversed(range(140)):
        is_moved = back < 14
        figures = {
            ERROR: np.abs(rng.normal(off if is_moved else 0.8, 0.5, 30)),
            BIAS: rng.normal(bias if is_moved else 0.0, 0.4, 30),
        }
        sums = {name: (30.0, float(one.sum()), float((one**2).sum())) for name, one in figures.items()}
        days.append(RatedDay(day=(SPAN.end - timedelta(days=back + 1)).date(), digest="d", figures=sums))
    return days


def _alarms(days: list[RatedDay]) -> tuple[Alarm, ...]:
    moved = [one for series in rated_series(days, SPAN) for one in measure(series, SPAN.n_days, 168)]
    return judge(moved, SPAN, SPAN.n_days, 0.05).alarms


def test_a_scorer_as_good_as_before_has_no_alarm_and_a_better_one_neither() -> None:
    assert _alarms(_days()) == ()
    assert _alarms(_days(off=0.5)) == ()
    assert rated_series([], SPAN) == []


@pytest.mark.parametrize(
    ("moved", "signal", "words"),
    [
        ({"off": 1.3}, "quality.rated.error", " stars in the last "),
        ({"bias": 0.3}, "quality.rated.like_bias", "too often in the last "),
        ({"bias": -0.3}, "quality.rated.like_bias", "too rarely in the last "),
    ],
)
def test_what_moved_is_named(moved: dict[str, float], signal: str, words: str) -> None:
    (alarm,) = _alarms(_days(**moved))
    assert (alarm.signal, alarm.family) == (signal, "quality")
    assert words in alarm.says
