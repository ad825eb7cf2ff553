"""Looks at small shops made for them: quiet ones, and ones in which one thing moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from core.schema import TABLES
from core.settings.monitoring import DriftSettings
from monitoring import drift
from monitoring.answers.daily import STORE, AnswerDay
from monitoring.answers.replay import STORE as REPLAY
from monitoring.answers.replay import ReplayDay
from monitoring.answers.service import STORE as SERVICE
from monitoring.answers.service import ServiceDay
from monitoring.answers.staleness import Learned
from monitoring.drift import DriftSummary, Places, live_end, report_drift
from monitoring.extent import find_extent
from monitoring.signals.activity import FloodRule
from tests.unit.monitoring.answers.test_signals import answer_days

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS, TURN = 150, 143
END = START + timedelta(days=DAYS)
Row = dict[str, Any]


def _items(change: Callable[[Row], Row] = dict) -> list[Row]:
    names = ("Tea", "Coffee", "Wine", "Bread")
    return [
        change({"item_id": f"i{i}", "category": f"{names[i % 4]} > x", "brand": f"b{i % 9}", "price": 5.0 + i % 10})
        for i in range(60)
    ]


def _events(change: Callable[[Row], Row] = dict, days: int = DAYS) -> list[Row]:
    """40 users a day look at three items and rate one; `change` is asked of the rows from day `TURN` on."""
    rng, rows = np.random.default_rng(5), []
    for day in range(days):
        for user in rng.choice(400, 40, replace=False):
            for place in range(4):
                at = START + timedelta(days=day, seconds=int(rng.integers(80_000)))
                is_rating = place == 3
                row = {
                    "event_id": f"e{len(rows)}", "user_id": f"u{user}", "item_id": f"i{int(60 * rng.random() ** 2)}",
                    "event": "rating" if is_rating else "view", "timestamp": at, "position": len(rows),
                    "value": float(rng.integers(1, 6)) if is_rating else None,
                }  # fmt: skip
                rows.append(change(row) if day >= TURN else row)
    return rows


def _write(folder: Path, items: list[Row], events: list[Row], more: str = "") -> Path:
    """The tables; `more` names a column that one of them has beside the others: `users.height`."""
    folder.mkdir(parents=True, exist_ok=True)
    users = [{"user_id": f"u{n}", "country": "AB"[n % 2], "day": "xy"[n % 2]} for n in range(400)]
    items = [{**item, "country": "CD"[n % 2], "day": "w"} for n, item in enumerate(items)]
    for name, rows in {"users": users, "items": items, "interactions": events, "feedback": []}.items():
        # Names that both tables have, and that the tables of a look have too.
        extra = [pa.field(own, pa.string()) for own in ("country", "day")] if name in ("users", "items") else []
        of_table, _, own = more.partition(".")
        told = [{**row, own: "ab"[n % 2] if n % 5 else None} if of_table == name else row for n, row in enumerate(rows)]
        known = TABLES[name].arrow()  # type: ignore[index]
        if of_table == name and own not in known.names:
            extra.append(pa.field(own, pa.string()))
        schema = pa.schema([*known, *extra])
        pq.write_table(pa.Table.from_pylist(told, schema=schema), folder / f"{name}.parquet")
    return folder


def _look(tmp_path: Path, items: list[Row], events: list[Row], **how: Any) -> DriftSummary:
    clean = _write(tmp_path / "clean", items, events, how.pop("more", ""))
    places = Places(clean, tmp_path / "ws", tmp_path / "looks", tmp_path / "pages" / how.pop("page", "look.html"))
    rule = FloodRule(20, 50, how.pop("filters", True))
    end = how.pop("end", END)
    learned = Learned(START + timedelta(days=100), how.pop("learned_until", None), how.pop("served", None))
    return report_drift(places, "shop", learned, DriftSettings(**how), rule, end)


@pytest.fixture(autouse=True)
def _without_drill_down(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidently's own pages take seconds; one test has them."""
    if "page" not in request.node.name:
        monkeypatch.setattr(drift, "family_snapshots", lambda *_: [])
        monkeypatch.setattr(drift, "read_windows", lambda *_: type("Empty", (), {"rows": (0, 0)}))


def test_a_quiet_shop_has_no_alarm(tmp_path: Path) -> None:
    summary = _look(tmp_path, _items(), _events())
    assert not summary.drifted, summary.alarms
    told = {one.name for one in summary.signals if not one.note}
    assert {"data.items.price.level", "data.items.category.mix", "data.users.country.mix"} <= told
    assert {"data.interactions.rating.level", "data.interactions.view.volume"} <= told
    assert max(one.evidence for one in summary.signals) > 0


CASES: dict[str, tuple[Callable[[Row], Row], Callable[[Row], Row], str, bool]] = {
    "prices rise": (lambda item: {**item, "price": item["price"] * 1.6}, dict, "data.items.price.level", False),
    "prices in cents": (lambda item: {**item, "price": item["price"] * 100}, dict, "data.items.price.unit", True),
    "no brand": (lambda item: {**item, "brand": None}, dict, "data.items.brand.null_share", True),
    "a new category": (
        lambda item: {**item, "category": "Cheese > x"} if item["item_id"] in ("i3", "i7") else item,
        dict, "data.items.category.new_values", False,
    ),
    "ratings rise": (
        dict, lambda row: {**row, "value": row["value"] and min(row["value"] + 1.5, 5)},
        "data.interactions.rating.level", False,
    ),
    "one item for all": (
        dict, lambda row: {**row, "item_id": "i50"} if row["position"] % 4 == 1 else row,
        "data.items.concentration", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_moved_is_named_first(tmp_path: Path, case: str) -> None:
    new_items, new_events, signal, is_broken = CASES[case]
    turned = START + timedelta(days=TURN)
    _look(tmp_path, _items(), [row for row in _events() if row["timestamp"] < turned], end=turned)
    summary = _look(tmp_path, _items(new_items), _events(new_events))
    first = summary.alarms[0]
    assert (first.signal, first.broken) == (signal, is_broken), [one.says for one in summary.alarms]
    assert first.p_value <= 0.05
    assert first.until == END.isoformat()


@pytest.mark.parametrize("column", ["users.height", "items.height", "items.title"])
def test_a_new_column_is_told_once_and_moves_nothing_else(tmp_path: Path, column: str) -> None:
    turned, seen = START + timedelta(days=TURN), START + timedelta(days=TURN + 4)
    before = [row for row in _events() if row["timestamp"] < turned]
    assert not _look(tmp_path, _items(), before, end=turned).drifted
    # Two looks without drill-down see it: the day after it came, and some days later.
    _look(tmp_path, _items(), _events(days=TURN + 4), end=seen, more=column)
    new = _look(tmp_path, _items(), _events(), more=column)
    assert [one.signal for one in new.alarms] == [f"data.{column}.new_column"]
    assert (new.alarms[0].broken, new.alarms[0].reference) == (False, 0.0)
    assert (
        new.alarms[0].says == f"{column}: a column of which no look before saw a value; 80% of its values are filled."
    )
    # The days are as ever, and stay in the reference of what comes.
    looks = drift.read_looks(tmp_path / "looks", END + timedelta(days=1))
    assert not drift.noisy_days(looks, drift.Span(END, DAYS), START).any()
    assert not _look(tmp_path, _items(), _events(), more=column, learned_until=END).drifted, "the bundle knows it"
    known = _look(tmp_path, _items(), _events(), more=column, learned_until=seen - timedelta(hours=1))
    assert known.drifted, "it came after what the bundle learned"


@pytest.mark.parametrize("column", ["users.height", "items.height"])
def test_a_column_that_was_empty_for_a_while_is_not_new_when_it_has_values_again(tmp_path: Path, column: str) -> None:
    for day, more in ((130, column), (139, ""), (141, column), (DAYS, column)):
        end = START + timedelta(days=day)
        rows = [row for row in _events() if row["timestamp"] < end]
        summary = _look(tmp_path, _items(), rows, end=end, more=more, page=f"{day}.html")
        assert not any(one.signal.endswith(".new_column") for one in summary.alarms), day


def test_columns_are_new_to_those_who_looked_before_alone(tmp_path: Path) -> None:
    assert not _look(tmp_path, _items(), _events(), more="users.height").drifted
    assert not _look(tmp_path, _items(), _events(), more="users.height").drifted


def _come_until(tmp_path: Path, end: datetime, newest: datetime, events: list[Row] | None = None) -> DriftSummary:
    rows = [row for row in events or _events() if row["timestamp"] < newest]
    return _look(tmp_path, _items(), rows, end=end, page=f"{end:%m-%d-%H}.html")


def _looks_noted(tmp_path: Path, *ages_h: float) -> None:
    """A look a day, the newest a day before the end."""
    for back, age in zip(range(len(ages_h), 0, -1), ages_h, strict=True):
        earlier = drift.read_looks(tmp_path / "looks", END)
        filled = {"country": 1.0, "day": 1.0}
        look = drift.Look(end=END - timedelta(days=back), age_h=age, filled=filled)
        drift.keep_look(tmp_path / "looks", earlier, look)


def test_a_feed_that_stopped_some_hours_ago_is_told_before_the_days_volume_moves(tmp_path: Path) -> None:
    _looks_noted(tmp_path, 0.1, 0.0, 0.1)
    summary = _come_until(tmp_path, END, END - timedelta(hours=7))
    first = summary.alarms[0]
    assert (first.signal, first.broken, first.window_days) == ("data.interactions.freshness", True, 1)
    assert [one.signal for one in summary.alarms] == ["data.interactions.freshness"]
    assert "0 users did anything in the six hours that end 0.1 hours before the look" in first.says
    assert "the newest event is 7.1 hours old" in first.says


def test_a_feed_that_always_comes_ten_hours_late_is_not_one_that_stopped_until_it_does(tmp_path: Path) -> None:
    lag, days = timedelta(hours=10), [END - timedelta(days=back) for back in (4, 3, 2, 1)]
    for end in days:
        assert not _come_until(tmp_path, end, end - lag).alarms
    last = _come_until(tmp_path, END, END - lag)
    assert not last.alarms
    fresh = [one.value for one in last.signals if one.name == "data.interactions.freshness"]
    assert fresh[0] > 15
    assert not any(look.unquiet for look in drift.read_looks(tmp_path / "looks", END + timedelta(days=1)))
    stopped = _come_until(tmp_path, END, END - timedelta(hours=17))
    assert (stopped.alarms[0].signal, stopped.alarms[0].broken) == ("data.interactions.freshness", True)


def test_a_nightly_batch_that_looks_of_all_day_wait_for_is_no_feed_that_stopped(tmp_path: Path) -> None:
    for day in (4, 3, 2, 1, 0):
        midnight = END - timedelta(days=day)
        for hour in (2, 20):  # the batch of the day before came at one
            summary = _come_until(tmp_path, midnight + timedelta(hours=hour), midnight)
            # At eight in the evening the day's volume is short of the day.
            told = [one for one in summary.alarms if not one.signal.endswith(".volume") or one.broken]
            assert not told, (day, hour, told)
    assert any(one.name == "data.interactions.freshness" and not one.note for one in summary.signals)


def test_nothing_is_said_of_a_feed_until_some_days_of_looks_told_how_late_it_is(tmp_path: Path) -> None:
    _looks_noted(tmp_path, 0.0, 0.0)
    summary = _come_until(tmp_path, END, END - timedelta(hours=10))
    assert not summary.alarms
    assert not any(one.name == "data.interactions.freshness" for one in summary.signals)


def test_how_late_events_come_by_habit_is_of_days_that_are_over_and_not_of_long_stops() -> None:
    def looks(*told: tuple[float, float | None]) -> list[drift.Look]:
        return [drift.Look(end=END - timedelta(hours=back), age_h=age) for back, age in told]

    noted = looks((96, 3), (72, 60), (48, 10), (24, 2), (11, 30))
    assert drift.usual_lag(noted, END) == timedelta(hours=10)
    assert drift.usual_lag(looks((500, 1), (96, None), (72, None), (48, 1), (24, 1)), END) is None
    assert drift.usual_lag(looks((30, 0), (29, 1), (28, 2), (27, 3)), END) is None
    assert drift.usual_lag([], END) is None


def test_hours_in_which_nobody_ever_comes_are_no_feed_that_stopped(tmp_path: Path) -> None:
    # Everybody comes from eight to eight, and the look is at two.
    by_day = [
        {
            **row,
            "timestamp": at.replace(hour=8, minute=0, second=0) + timedelta(seconds=(at.hour * 60 + at.minute) * 30),
        }
        for row in _events()
        for at in [row["timestamp"]]
    ]
    _looks_noted(tmp_path, 0.0, 0.0, 0.0)
    summary = _look(tmp_path, _items(), by_day, end=END + timedelta(hours=2))
    [fresh] = [one for one in summary.signals if one.name == "data.interactions.freshness"]
    assert not summary.drifted, summary.alarms
    assert (fresh.value, fresh.reference) == (0, 0)


def test_a_flood_is_left_out_counted_and_named_and_moves_nothing_else(tmp_path: Path) -> None:
    at, events = START + timedelta(days=TURN + 1), _events()
    flood = [
        {
            **events[0],
            "event_id": f"f{n}",
            "user_id": "bot",
            "timestamp": at + timedelta(days=n // 400, seconds=n % 400),
        }
        for n in range(2000)
    ]
    summary = _look(tmp_path, _items(), events + flood)
    assert (summary.flooded_users, summary.flooded_days, summary.flooded_events) == (1, 5, 2000)
    assert [alarm.signal for alarm in summary.alarms] == ["data.interactions.floods"]
    assert _look(tmp_path, _items(), events + flood, filters=False).flooded_events == 0


def test_days_that_were_not_quiet_are_in_no_reference_unless_the_model_learned_from_them(tmp_path: Path) -> None:
    events = _events(lambda row: {**row, "value": row["value"] and 5.0})
    first = _look(tmp_path, _items(), events)
    assert first.alarms[0].signal == "data.interactions.rating.level"
    looks = drift.read_looks(tmp_path / "looks", END + timedelta(days=1))
    span = drift.Span(END, DAYS)
    assert drift.noisy_days(looks, span, START)[TURN:].all()
    assert not drift.noisy_days(looks, span, END).any()


def test_what_is_known_of_answers_is_watched_and_what_is_missing_is_told(tmp_path: Path) -> None:
    summary = _look(tmp_path, _items(), _events())
    assert not any(one.family == "quality" for one in summary.signals)
    note, replayed, served, *embedded = summary.unwatched
    assert served.startswith("Not watched: load and errors of the service.")
    assert replayed.startswith("Not watched: how well the bundle in service ranks")
    assert note.startswith("Not watched: predictions, their quality and latency.")
    assert note in summary.page.read_text()
    days = answer_days(hit=0.1, last=END.date() - timedelta(days=1))
    (tmp_path / "looks" / STORE).write_bytes(TypeAdapter(list[AnswerDay]).dump_json(days))
    watched = _look(tmp_path, _items(), _events())
    assert watched.unwatched == (replayed, served, *embedded)
    assert {alarm.signal for alarm in watched.alarms} == {"quality.shown.hit_rate"}
    assert "quality.shown.hit_rate" in watched.page.read_text()
    counted = [ServiceDay(day=one.day, requests=2000, failed=100 * (one.day > days[-4].day)) for one in days]
    (tmp_path / "looks" / SERVICE).write_bytes(TypeAdapter(list[ServiceDay]).dump_json(counted))
    failing = _look(tmp_path, _items(), _events())
    assert failing.unwatched == (replayed, *embedded)
    assert failing.alarms[0].signal == "service.requests.failed_share"


def test_a_look_tells_that_the_bundle_does_not_know_what_users_take(tmp_path: Path) -> None:
    (tmp_path / "looks").mkdir()
    lacking = [*[0] * 50, *[12] * 50]
    days = [
        ReplayDay(
            day=(END - timedelta(days=100 - place)).date(), digest="d", figures={"rank": (40, 32, 26)},
            age_days=place + 1, unknown=(40, n, n), unknown_groups=((2, n / 20),) * 20,
        )
        for place, n in enumerate(lacking)
    ]  # fmt: skip
    (tmp_path / "looks" / REPLAY).write_bytes(TypeAdapter(list[ReplayDay]).dump_json(days))
    summary = _look(tmp_path, _items(), _events(), served="d")
    assert [alarm.signal for alarm in summary.alarms] == ["quality.replay.unknown_share"]
    assert "30.0% were items that the bundle in service does not know" in summary.page.read_text()
    assert not any(look.unquiet for look in drift.read_looks(tmp_path / "looks", END + timedelta(days=1)))
    # Days that nobody could be asked about tell nothing.
    empty = [ReplayDay(day=END.date() - timedelta(days=n), digest="later", figures={}) for n in (150, 149)]
    (tmp_path / "looks" / REPLAY).write_bytes(TypeAdapter(list[ReplayDay]).dump_json([*empty, *days]))
    again = _look(tmp_path, _items(), _events(), served="d")
    assert (again.alarms, again.unwatched) == (summary.alarms, summary.unwatched)
    (tmp_path / "looks" / REPLAY).write_bytes(TypeAdapter(list[ReplayDay]).dump_json(empty))
    assert any("No whole day has passed" in note for note in _look(tmp_path, _items(), _events()).unwatched)
    (tmp_path / "looks" / REPLAY).write_bytes(TypeAdapter(list[ReplayDay]).dump_json(days))
    for promoted in ("asked about no whole day yet", None):
        assert _look(tmp_path, _items(), _events(), served=promoted).alarms == ()


def test_some_clicks_months_after_a_logs_end_hide_no_drift(tmp_path: Path) -> None:
    clicks = [
        {**row, "event_id": f"late{n}", "timestamp": row["timestamp"] + timedelta(days=200)}
        for n, row in enumerate(_events()[-20:])
    ]
    changed = _events(lambda row: {**row, "item_id": "i0"} if row["event_id"][-1] in "02468" else row)
    summary = _look(tmp_path, _items(), [*changed, *clicks], end=None)
    assert summary.alarms[0].signal == "data.items.concentration"
    assert summary.unwatched[0].startswith("Left out: 20 events of ")
    assert summary.unwatched[0] in summary.page.read_text()


def test_a_short_or_empty_shop_is_told(tmp_path: Path) -> None:
    short = _look(tmp_path, _items(), _events(days=60), end=START + timedelta(days=60))
    assert short.note == "Nothing to compare: the events span 59 days; a quiet past takes 98 at least."
    assert short.note in short.page.read_text()
    assert "there is no event" in _look(tmp_path, _items(), []).note


def test_a_feed_that_stopped_is_live_and_an_old_data_set_is_not(tmp_path: Path) -> None:
    clean = _write(tmp_path, _items(), _events(days=2))
    assert live_end(find_extent(clean), START + timedelta(days=30, minutes=5)) == START + timedelta(days=30)
    assert live_end(find_extent(clean), START + timedelta(days=90)) is None
    _looks_noted(tmp_path / "stopped", 0.0, 0.0, 0.0)
    stopped = _look(tmp_path / "stopped", _items(), _events(), end=END + timedelta(days=3))
    assert stopped.alarms[0].broken
    assert "the newest event is 74.0 hours old" in stopped.alarms[0].says
    assert any(one.signal.endswith(".volume") and one.broken for one in stopped.alarms)


def test_the_page_and_the_workspace_have_each_look_once(tmp_path: Path) -> None:
    from evidently.ui.workspace import Workspace

    items, events = _items(), _events()
    for name in ("one.html", "one.html", "two.html"):
        summary = _look(tmp_path, items, events, page=name)
    workspace = Workspace.create(str(tmp_path / "ws"))
    (shop,) = workspace.list_projects()
    assert len(workspace.list_runs(shop.id)) == 2
    assert len(shop.dashboard.model().panels) == 6
    assert 'href="columns/two.html"' in summary.page.read_text()
    assert "<script" in summary.columns_page.read_text()
    assert 'src="http' not in summary.columns_page.read_text()
