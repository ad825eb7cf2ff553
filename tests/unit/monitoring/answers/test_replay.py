"""Days replayed through a bundle: who is asked about, what a target is, once a day, what is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import t

from core.alarms import Alarm
from core.schema import TABLES
from core.settings.features import FeatureSettings, SeenSettings
from features.point_in_time.states import StatesThen
from monitoring.answers.asked_days import Replayed, days_to_replay
from monitoring.answers.replay import ReplayDay, read_replay_days, replay
from monitoring.answers.replayed import below_promise, mean_of_days, replay_note, replay_series
from monitoring.answers.staleness import STALE, Learned, with_staleness
from monitoring.calibration import measure
from monitoring.extent import find_extent
from monitoring.signals.activity import FloodRule, Span
from monitoring.verdict import judge
from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from recommender.metrics.top_k import Scores, mask_seen

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
ITEMS = tuple("abcdefgh")
BUNDLE = Replayed("d1", MONDAY, {"rank": 0.8}, 3, FloodRule(20, 50))


class Alphabet:
    """Ranks by the alphabet, and remembers whom it was asked about."""

    ids = IdMap(ITEMS)

    def __init__(self) -> None:
        self.asked: list[UserState] = []

    def scores(self, users: Sequence[UserState]) -> np.ndarray:
        self.asked += users
        scores = np.tile(-np.arange(len(ITEMS), dtype=np.float32), (len(users), 1))
        return mask_seen(scores, users, self.ids)


def _clean(folder: Path, events: Sequence[tuple[str, str, float, str]]) -> Path:
    """Events as user, item, days after Monday, kind."""
    folder.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = [
        {
            "event_id": f"e{n}", "user_id": user, "item_id": item, "event": kind, "position": n,
            "timestamp": MONDAY + timedelta(days=days), "value": 4.0 if kind == "rating" else None,
        }
        for n, (user, item, days, kind) in enumerate(events)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=TABLES["interactions"].arrow()), folder / "interactions.parquet")
    schema = pa.schema([*TABLES["users"].arrow(), pa.field("country", pa.string())])
    users = [{"user_id": user, "country": "AB"[user > "u"]} for user in sorted({one[0] for one in events})]
    pq.write_table(pa.Table.from_pylist(users, schema=schema), folder / "users.parquet")
    for name in ("items", "feedback"):
        pq.write_table(TABLES[name].arrow().empty_table(), folder / f"{name}.parquet")  # type: ignore[index]
    return folder


def replay_new(
    folder: Path,
    clean: Path,
    ranker: Scores,
    bundle: Replayed,
    features: FeatureSettings = FeatureSettings(),  # noqa: B008
    **how: Any,
) -> list[ReplayDay]:
    """Replay what no bundle was asked about yet."""
    wanted = days_to_replay(find_extent(clean), read_replay_days(folder), bundle.learned_until)
    return replay(folder, clean, StatesThen(clean, features), ranker, bundle, wanted, **how)


EVENTS = (
    ("u", "a", -2.0, "view"),
    ("u", "b", -1.0, "view"),
    ("u", "a", -0.5, "rating"),
    ("w", "c", -1.0, "purchase"),
    ("u", "d", 1.2, "view"),  # Tuesday
    ("u", "a", 1.3, "view"),  # had it before
    ("u", "z", 1.4, "view"),  # unknown to the bundle
    ("u", "h", 1.5, "impression"),  # was merely shown
    ("w", "a", 1.1, "click"),
    ("new", "a", 1.1, "view"),  # has no history
    ("u", "c", 2.5, "view"),  # Wednesday
    ("w", "b", 3.5, "view"),  # Thursday, which is not over
)


def test_a_day_asks_for_new_items_of_users_with_a_history_as_the_day_began(tmp_path: Path) -> None:
    ranker = Alphabet()
    tuesday, wednesday = replay_new(tmp_path / "kept", _clean(tmp_path / "clean", EVENTS), ranker, BUNDLE)
    assert [one.day for one in (tuesday, wednesday)] == [date(2026, 3, 3), date(2026, 3, 4)]
    by_items = {one.items: one for one in ranker.asked}
    assert set(by_items) == {("b", "a"), ("c",), ("b", "d", "a", "z")}
    assert by_items["b", "a"].values == (None, 4.0)
    assert by_items["b", "a"].events == ("view", "rating")
    assert by_items["c",].events == ("purchase",)
    # u wanted d of c to h, and z, which the bundle does not know: a miss. w wanted a of all but c: the first.
    n, total, _ = tuesday.figures["ndcg"]
    assert (n, total) == (2, pytest.approx(1 + (1 / log2(3)) / (1 + 1 / log2(3))))
    assert tuesday.figures["rank"][1] == pytest.approx(1 + (4 / 5 + 0) / 2)
    assert set(tuesday.segments) == {"country=A", "country=B"}
    assert tuesday.segments["country=B"] == (1, 1, 1)
    assert (tuesday.digest, tuesday.promise) == ("d1", {"rank": 0.8})


def test_users_and_items_are_as_a_request_of_then_would_have_found_them(tmp_path: Path) -> None:
    ranker = Alphabet()
    replay_new(tmp_path / "kept", _clean(tmp_path / "clean", EVENTS), ranker, BUNDLE)
    by_items = {one.items: one for one in ranker.asked}
    first, second = by_items["b", "a"], by_items["b", "d", "a", "z"]
    assert (first.mean_rating, first.n_ratings, first.attributes) == (4.0, 1, "country A")
    assert (first.features["n_views"], second.features["n_views"]) == (2, 5)
    for user, popular in ((first, [2, 1, 1, 0]), (second, [5, 1, 1, 1])):  # of 30 days
        assert user.items_then is not None
        assert user.items_then.of(ranker.ids).popularity[:4, -1].tolist() == popular


def test_what_counted_as_seen_is_nothing_to_foresee(tmp_path: Path) -> None:
    shown = [("u", "d", -0.2, "impression"), ("w", "a", -0.2, "impression")]
    features = FeatureSettings(seen=SeenSettings(events=("view", "impression")))
    ranker = Alphabet()
    [tuesday, _] = replay_new(
        tmp_path / "kept", _clean(tmp_path / "clean", [*EVENTS, *shown]), ranker, BUNDLE, features
    )
    # w took a alone, which was seen, and u d, which was, and z, which the bundle does not know.
    assert tuesday.figures["ndcg"] == (1, 0, 0)


def test_a_day_is_asked_about_once_whatever_bundle_comes_after(tmp_path: Path) -> None:
    clean, kept = _clean(tmp_path / "clean", EVENTS), tmp_path / "kept"
    first = replay_new(kept, clean, Alphabet(), BUNDLE)
    later = Replayed("d2", MONDAY, {}, 3, BUNDLE.floods)
    assert replay_new(kept, clean, Alphabet(), later) == first == read_replay_days(kept)
    days, states_then = [one.day for one in first], StatesThen(clean, FeatureSettings())
    assert replay(kept, clean, states_then, Alphabet(), later, days) == first == read_replay_days(kept)
    assert days_to_replay(find_extent(clean), first, MONDAY) == []
    grown = _clean(tmp_path / "clean", [*EVENTS, ("u", "g", 4.5, "view")])
    again = replay_new(kept, grown, Alphabet(), later)
    assert again[:2] == first
    assert [(one.day.day, one.digest) for one in again[2:]] == [(5, "d2")]


def test_a_day_that_nobody_can_be_asked_about_is_looked_at_once(tmp_path: Path) -> None:
    kept, late = tmp_path / "kept", ("w", "d", 6.5, "view")
    clean = _clean(tmp_path / "clean", [*EVENTS, late])
    # Nothing happened on Friday and Saturday, and on Sunday, which is not over, one event.
    days = replay_new(kept, clean, Alphabet(), BUNDLE)
    assert [(one.day.day, bool(one.figures)) for one in days] == [
        (3, True),
        (4, True),
        (5, True),
        (6, False),
        (7, False),
    ]
    assert read_replay_days(kept) == days
    assert days_to_replay(find_extent(clean), days, MONDAY) == []
    # On Sunday whoever came had no history.
    grown = _clean(tmp_path / "clean", [*EVENTS, ("new2", "a", 6.2, "view"), ("u", "g", 7.5, "view")])
    assert days_to_replay(find_extent(grown), days, MONDAY) == [date(2026, 3, 8)]
    ranker = Alphabet()
    later = replay_new(kept, grown, ranker, BUNDLE)
    assert (later[:-1], later[-1].day.day, later[-1].figures, ranker.asked) == (days, 8, {}, [])


@pytest.mark.parametrize(
    "features",
    [
        FeatureSettings(ignored_events=("view",)),  # u had done nothing before Tuesday
        FeatureSettings(seen=SeenSettings(events=("impression", "purchase"))),  # what u took had been shown
    ],
)
def test_a_day_whose_users_all_fall_out_is_looked_at_once(tmp_path: Path, features: FeatureSettings) -> None:
    kept = tmp_path / "kept"
    events = [("u", "a", -1.0, "view"), ("u", "b", -0.5, "impression"), ("u", "b", 1.2, "purchase")]
    clean = _clean(tmp_path / "clean", [*events, ("u", "c", 4.5, "purchase")])
    days = replay_new(kept, clean, Alphabet(), BUNDLE, features)
    assert [(one.day.day, bool(one.figures)) for one in days] == [(3, False), (4, False), (5, False)]
    assert days_to_replay(find_extent(clean), days, MONDAY) == []


def test_a_day_for_which_a_look_has_no_room_waits_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.answers.replay.MAX_QUERIES", 2)
    clean, kept = _clean(tmp_path / "clean", [*EVENTS, ("w", "d", 5.5, "view")]), tmp_path / "kept"
    assert [one.day.day for one in replay_new(kept, clean, Alphabet(), BUNDLE, users_a_day=2)] == [4, 5, 6]
    days = replay_new(kept, clean, Alphabet(), BUNDLE, users_a_day=2)
    assert [(one.day.day, bool(one.figures)) for one in days] == [(3, True), (4, True), (5, True), (6, False)]


def test_nothing_from_before_the_bundle_learned_is_asked_about(tmp_path: Path) -> None:
    clean = _clean(tmp_path / "clean", EVENTS)
    assert days_to_replay(find_extent(clean), [], MONDAY + timedelta(days=1, hours=3)) == [date(2026, 3, 4)]
    assert days_to_replay(find_extent(clean), [], MONDAY + timedelta(days=9)) == []


def test_a_click_long_after_the_others_is_no_day_to_ask_about(tmp_path: Path) -> None:
    clean = _clean(tmp_path / "clean", [*EVENTS, ("u", "g", 204.5, "view")])
    assert days_to_replay(find_extent(clean), [], MONDAY) == [date(2026, 3, 3), date(2026, 3, 4)]


def test_a_day_asks_a_sample_and_no_flood(tmp_path: Path) -> None:
    known = [(f"u{n}", "a", -1.0, "view") for n in range(30)]
    bought = [(f"u{n}", "b", 1.1, "view") for n in range(30)]
    flood = [("u1", "abcdefgh"[n % 8], 1.2, "view") for n in range(200)]
    clean = _clean(tmp_path / "clean", [*known, *bought, *flood, ("x", "a", 2.1, "view")])
    [day] = replay_new(tmp_path / "all", clean, Alphabet(), BUNDLE)
    assert day.figures["rank"][0] == 29
    [some] = replay_new(tmp_path / "some", clean, Alphabet(), BUNDLE, users_a_day=10)
    [same] = replay_new(tmp_path / "same", clean, Alphabet(), BUNDLE, users_a_day=10)
    assert some == same
    assert some.figures["rank"][0] == 10


SPAN = Span(datetime(2026, 6, 1, tzinfo=UTC), 160)


def _days(
    n: int = 140, *, group_a: float = 0.8, group_b: float = 0.8, turn: int = 14, promise: float = 0.8
) -> list[ReplayDay]:
    rng, days = np.random.default_rng(3), []
    for back in reversed(range(n)):
        means = (group_a, group_b) if back < turn else (0.8, 0.8)
        drawn = [np.clip(rng.normal(mean, 0.2, 20), 0, 1) for mean in means]
        every = np.concatenate(drawn)
        sums = [(float(len(one)), float(one.sum()), float((one**2).sum())) for one in (*drawn, every)]
        day = (SPAN.end - timedelta(days=back + 1)).date()
        digest = "new" if back < 40 else "old"
        days.append(
            ReplayDay(
                day=day, digest=digest, promise={"rank": promise}, figures={"rank": sums[2], "ndcg": sums[2]},
                segments={"country=A": sums[0], "country=B": sums[1]},
            )
        )  # fmt: skip
    return days


def _alarms(days: list[ReplayDay], learned_days_ago: int = 40) -> tuple[Alarm, ...]:
    moved = [one for series in replay_series(days, SPAN) for one in measure(series, SPAN.n_days, 168)]
    moved += below_promise(days, SPAN, SPAN.n_days)
    alarms = judge(moved, SPAN, SPAN.n_days, 0.05).alarms
    return with_staleness(alarms, Learned(SPAN.starts(0), SPAN.end - timedelta(days=learned_days_ago)), SPAN.end)


def test_a_bundle_that_ranks_as_before_has_no_alarm_and_one_that_ranks_better_neither() -> None:
    assert _alarms(_days()) == ()
    assert _alarms(_days(group_a=0.95, group_b=0.95)) == ()


def test_a_turn_of_taste_of_one_segment_is_named_with_it_and_is_not_stale() -> None:
    first, *others = _alarms(_days(group_a=0.5))
    assert (first.signal, first.segment, first.family) == ("quality.replay.rank", "country=A", "quality")
    assert "for country=A" in first.says
    assert STALE not in {one.signal for one in others}


def test_a_bundle_that_ranks_worse_for_all_is_stale() -> None:
    alarms = _alarms(_days(group_a=0.6, group_b=0.6))
    assert alarms[0].signal == STALE
    assert {"quality.replay.rank", "quality.replay.ndcg"} <= {one.signal for one in alarms}
    assert STALE not in {one.signal for one in _alarms(_days(group_a=0.6, group_b=0.6), learned_days_ago=10)}


def test_the_promise_needs_no_quiet_past_and_a_little_less_than_it_is_no_alarm() -> None:
    young = _days(30, turn=0)
    assert "Such days are known for 30 days" in replay_note(young, SPAN)
    assert "No whole day" in replay_note([], SPAN)
    assert replay_note(_days(98), SPAN) == ""
    assert _alarms([one.model_copy(update={"promise": {"rank": 0.82}}) for one in young]) == ()
    broken = _alarms([one.model_copy(update={"promise": {"rank": 0.95}}) for one in young])
    assert [one.signal for one in broken] == [STALE, "quality.replay.promise"]
    assert "its evaluation promised 95.0%" in broken[1].says
    few = [one.model_copy(update={"promise": {"rank": 0.95}}) for one in _days(13, turn=0)]
    assert list(below_promise(few, SPAN, SPAN.n_days)) == []
    assert list(below_promise([], SPAN, SPAN.n_days)) == []


def _auto(alike: float, n_days: int, n: int) -> np.ndarray:
    """Days whose mean is 0 and of which each is so much like the day before. Shape (n, n_days)."""
    rng = np.random.default_rng(12)
    days = np.zeros((n, n_days))
    days[:, 0] = rng.normal(size=n)
    for at in range(1, n_days):
        days[:, at] = alike * days[:, at - 1] + np.sqrt(1 - alike**2) * rng.normal(size=n)
    return days


@pytest.mark.parametrize(
    ("alike", "n_days", "most"), [(0, 14, 0.01), (0.5, 14, 0.01), (0.5, 28, 0.01), (0.8, 28, 0.015), (0.8, 14, 0.025)]
)
def test_days_that_are_alike_alarm_hardly_more_often_than_they_should(alike: float, n_days: int, most: float) -> None:
    n, n_alarms = 4000, 0
    for means in _auto(alike, n_days, n):
        mean, error, freedom = mean_of_days([(40.0, 40 * one, 40 * one**2) for one in means])
        n_alarms += t.sf(mean / error, freedom) < 0.01
    assert n_alarms / n <= most


def test_days_that_go_by_themselves_lose_little_to_what_days_might_have_in_common() -> None:
    found = [mean_of_days([(40.0, 40 * one, 40 * one**2) for one in means])[1:] for means in _auto(0, 28, 500)]
    error, freedom = np.median(found, axis=0)
    assert error < 1.4 / np.sqrt(28)
    assert freedom > 12
