"""Days of answers, summed up: each user once, challengers left out, and the same again where the log is gone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from math import log2
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.logs.events import EventLog
from core.logs.predictions import Prediction
from core.schema import TABLES
from monitoring.answers.daily import TOOK_MS, AnswerDay, AnswerLogs, read_answer_days, sum_up_answers
from monitoring.answers.variants import read_variant_days, window_figures
from tests.unit.monitoring.online.test_shown import NOON, answer, event, write

TODAY = date(2026, 3, 3)
NOW = datetime(2026, 3, 3, 0, 20, tzinfo=UTC)
DAY_M = 24 * 60


def _clean(folder: Path) -> Path:
    folder.mkdir()
    users = [{"user_id": "u", "country": "A"}, {"user_id": "v", "country": "B"}]
    events: list[dict[str, Any]] = [
        {"event_id": f"e{n}", "user_id": f"x{n}", "item_id": item, "event": "view", "timestamp": NOON, "position": n}
        for n, item in enumerate("aaab")
    ]
    schema = pa.schema([*TABLES["users"].arrow(), pa.field("country", pa.string())])
    pq.write_table(pa.Table.from_pylist(users, schema=schema), folder / "users.parquet")
    table = pa.Table.from_pylist(events, schema=TABLES["interactions"].arrow())
    pq.write_table(table, folder / "interactions.parquet")
    return folder


def _sum_up(tmp_path: Path, events: Sequence[Any] = (), now: datetime = NOW, **more: Any) -> list[AnswerDay]:
    log = EventLog(tmp_path / "events.sqlite")
    log.append(events)
    clean = tmp_path / "clean"
    logs = AnswerLogs(tmp_path / "log", log, clean if clean.exists() else _clean(clean), ("click",), 600.0)
    return sum_up_answers(tmp_path / "watched", logs, {"sommelier-tiny:v1": 0.2}, now, **more)


def test_a_day_has_each_user_once(tmp_path: Path) -> None:
    first = answer("r0", -60)
    of_day = [
        answer("r1", DAY_M, took_ms=3.0, cold_start=True),
        answer("r2", DAY_M + 30, took_ms=300.0),
        answer("r3", DAY_M, user_id="v", items=("c", "d"), scores=(1.0, 1.0), propensities=(0.5, None)),
        answer("r4", DAY_M, user_id=None, unit="request"),
    ]
    write(tmp_path / "log", first, *of_day)
    [day] = _sum_up(tmp_path, [event(1, "b", DAY_M + 1, of="r1")])
    assert (day.day, day.model, day.answers, day.promise) == (date(2026, 3, 2), "sommelier-tiny:v1", 4, 0.2)
    n, total, squares = day.figures["hit"]
    assert (n, total, squares) == (3, 0.5, 0.25)  # u had a click on one of two lists
    assert day.figures["ctr"][1] == pytest.approx((1 / 3) / 2)
    assert day.figures["ndcg"][1] == pytest.approx((1 / log2(3)) / 2)
    assert day.figures["cold"][:2] == (3, 0.5)
    assert day.figures["score"][1] == pytest.approx(2 + 1 + 2)
    assert day.figures["propensity"] == pytest.approx((1, -0.6931, 0.4805), abs=1e-4)
    assert day.figures["popular"][1] == 0.0  # of two items none is among the first tenth
    rare = -log2(0.25)
    assert day.figures["novelty"][1] == pytest.approx(2 * (-log2(0.75) + rare + rare) / 3 + rare)
    assert day.hits == {"country=A": (1, 0.5, 0.25), "country=B": (1, 0, 0)}
    assert day.pairs == (28.0, 5.0)  # eight shown items; c was shown to three users, a and b to two
    assert sum(day.took) == 4
    assert [TOOK_MS[place] for place, n in enumerate(day.took[:-1]) if n and TOOK_MS[place] >= 1] == [3.58, 342.0]


def test_pinned_items_count_in_no_figure_of_a_day(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"items": ("b", "c"), "scores": (2.0, 1.0), "propensities": (0.5, 0.25)}
    campaign: dict[str, Any] = {
        "items": ("a", "b", "c"),
        "scores": (90.0, 2.0, 1.0),
        "propensities": (1.0, 0.5, 0.25),
        "rules": ("pin:spring", "boost:0", ""),
    }
    alone: dict[str, Any] = {"items": ("a",), "scores": (90.0,), "rules": ("pin:spring",)}
    days = []
    for name, how, beside in (("without", plain, ()), ("with", campaign, (answer("r3", DAY_M, user_id="w", **alone),))):
        folder = tmp_path / name
        lists = [answer("r1", DAY_M, **how), answer("r2", DAY_M, user_id="v", **how)]
        write(folder / "log", answer("begin", 0), *lists, *beside)
        days += _sum_up(folder, [event(1, "b", DAY_M + 1, of="r1"), event(2, "a", DAY_M + 1, of="r2")])
    without, campaigned = days
    assert without.pairs == (6.0, 2.0)
    assert without.figures["ndcg"][1] == 1.0
    assert campaigned == without


def test_what_is_not_over_or_not_whole_or_not_the_champions_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path / "log",
        answer("begin", 0),  # the log's first day is not whole
        answer("shadow", DAY_M, role="shadow"),
        answer("canary", DAY_M, variant="canary", experiment="e"),
        answer("similar", DAY_M, endpoint="/v1/similar"),
        answer("control", DAY_M, variant="champion", experiment="e"),
        answer("today", DAY_M + 12 * 60 + 5),
    )
    assert _sum_up(tmp_path, now=NOW - timedelta(minutes=15)) == [], "clicks on the day's last answers still count"
    assert [(one.day.day, one.answers) for one in _sum_up(tmp_path)] == [(2, 1)]


def test_variants_of_an_experiment_are_summed_up_by_themselves_and_outlast_the_log(tmp_path: Path) -> None:
    tried = {"experiment": "e", "variant": "canary"}
    of_day = [
        answer("r1", DAY_M, **tried),
        answer("r2", DAY_M + 1, **tried),
        answer("r3", DAY_M, user_id="v", **tried),
        answer("control", DAY_M, user_id="w", variant="champion", experiment="e"),
        answer("none", DAY_M, user_id="x"),
        answer("failed", DAY_M, user_id="w", role="failed", items=(), scores=(), **tried),
        answer("shadow", DAY_M, role="failed", items=(), scores=(), experiment="beside", variant="new", is_shadow=True),
    ]
    segments = write(tmp_path / "log", answer("begin", 0), *of_day)
    [day] = _sum_up(tmp_path, [event(1, "b", DAY_M + 2, of="r2")])
    assert day.answers == 2  # of the bundle in service, in the experiment and outside of it
    canary, control = read_variant_days(tmp_path / "watched")
    assert (canary.variant, canary.answers, canary.failed, canary.users) == ("canary", 3, 1, 2)
    assert canary.figures["hit"] == (0.5, 0.25)
    assert canary.figures["ctr"][0] == pytest.approx((1 / 3) / 2)
    assert (control.variant, control.answers, control.failed, control.users) == ("champion", 1, 0, 1)
    figures = window_figures([canary, control], date(2026, 3, 8), 7)
    assert figures["e", "canary"]["hit"] == 0.25
    assert figures["e", "canary"]["failed_share"] == 0.25
    assert window_figures([canary], date(2026, 3, 9), 7) == window_figures([canary], date(2026, 3, 1), 7) == {}
    for segment in segments.glob("*.jsonl"):
        segment.unlink()
    write(tmp_path / "log", answer("r2", DAY_M + 1, **tried), answer("r9", 2 * DAY_M))
    _sum_up(tmp_path, now=NOW + timedelta(days=1))
    assert read_variant_days(tmp_path / "watched") == [canary, control]


def test_a_variant_that_only_failed_has_its_failures(tmp_path: Path) -> None:
    control = answer("control", DAY_M, variant="champion", experiment="e")
    failed = answer("failed", DAY_M, role="failed", items=(), scores=(), variant="canary", experiment="e")
    write(tmp_path / "log", answer("begin", 0), control, failed)
    _sum_up(tmp_path)
    found = window_figures(read_variant_days(tmp_path / "watched"), date(2026, 3, 2), 1)
    assert found["e", "canary"] == {"failed_share": 1.0}
    assert (found["e", "champion"]["failed_share"], found["e", "champion"]["users"]) == (0.0, 1.0)


def test_a_day_on_which_an_experiment_made_no_list_at_all_has_its_failures(tmp_path: Path) -> None:
    failed = {"role": "failed", "items": (), "scores": (), "variant": "new"}
    of_day = [answer(f"failed-{n}", DAY_M + n, experiment="e", **failed) for n in range(2)]
    shadow = answer("shadow", DAY_M, experiment="beside", is_shadow=True, **failed)
    write(tmp_path / "log", answer("begin", 0), answer("instead", DAY_M), *of_day, shadow)
    _sum_up(tmp_path)
    (day,) = read_variant_days(tmp_path / "watched")
    assert (day.experiment, day.variant, day.answers, day.failed) == ("e", "new", 0, 2)


def test_a_log_that_does_not_say_which_failures_are_a_shadows_tells_them_by_its_lists(tmp_path: Path) -> None:
    shadow = {"experiment": "beside", "variant": "new"}
    folder = write(
        tmp_path / "log",
        answer("begin", 0),
        answer("shown", DAY_M),
        answer("made", DAY_M, role="shadow", **shadow),
        answer("failed", DAY_M, role="failed", items=(), scores=(), **shadow),
        answer("other", DAY_M, role="failed", items=(), scores=(), experiment="e", variant="new"),
    )
    for segment in folder.glob("*.jsonl"):
        records = [json.loads(line) for line in segment.read_text().splitlines()]
        lines = [json.dumps({name: one for name, one in record.items() if name != "is_shadow"}) for record in records]
        segment.write_text("\n".join(lines) + "\n")
    _sum_up(tmp_path)
    assert [(one.experiment, one.failed) for one in read_variant_days(tmp_path / "watched")] == [("e", 1)]


def test_days_stay_when_their_part_of_the_log_is_gone_and_come_once(tmp_path: Path) -> None:
    segments = write(tmp_path / "log", answer("r0", -DAY_M), answer("r1", 0), answer("r2", DAY_M))
    both = _sum_up(tmp_path)
    assert [one.day.day for one in both] == [1, 2]
    before = (tmp_path / "watched" / "answers.json").read_bytes()
    assert _sum_up(tmp_path) == both == read_answer_days(tmp_path / "watched")
    assert (tmp_path / "watched" / "answers.json").read_bytes() == before
    for segment in segments.glob("*.jsonl"):
        segment.unlink()
    write(tmp_path / "log", answer("r2", DAY_M), answer("r3", 2 * DAY_M))
    days = _sum_up(tmp_path, now=NOW + timedelta(days=1))
    assert [one.day.day for one in days] == [1, 2, 3]
    assert days[:2] == both


def test_a_day_stays_whole_when_a_part_of_its_answers_has_left_the_log(tmp_path: Path) -> None:
    of_day = [answer(f"r{n}", DAY_M, user_id=f"x{n}") for n in range(6)]
    other = answer("other", DAY_M, model="sommelier-tiny:v2")
    segments = write(tmp_path / "log", answer("r", 0), other, *of_day)
    whole = _sum_up(tmp_path)
    assert [(one.day.day, one.model[-2:], one.answers) for one in whole] == [(2, "v1", 6), (2, "v2", 1)]
    for segment in segments.glob("*.jsonl"):
        segment.unlink()
    write(tmp_path / "log", *of_day[4:], answer("r9", 2 * DAY_M))
    days = _sum_up(tmp_path, [event(1, "b", DAY_M + 5, of="r5")], now=NOW + timedelta(days=1))
    assert days[:2] == whole
    assert [(one.day.day, one.answers) for one in days[2:]] == [(3, 1)]


def test_a_day_of_which_the_log_holds_only_the_end_is_left_out(tmp_path: Path) -> None:
    segments = write(tmp_path / "log", answer("r0", 0), answer("r1", DAY_M))
    known = _sum_up(tmp_path)
    for segment in segments.glob("*.jsonl"):
        segment.unlink()
    write(tmp_path / "log", answer("r5", 4 * DAY_M), answer("r6", 5 * DAY_M))
    days = _sum_up(tmp_path, now=NOW + timedelta(days=4))
    assert days[:1] == known
    assert [one.day.day for one in days[1:]] == [6]


def test_a_click_that_comes_late_counts(tmp_path: Path) -> None:
    write(tmp_path / "log", answer("r0", 0), answer("r1", DAY_M))
    [before] = _sum_up(tmp_path)
    [after] = _sum_up(tmp_path, [event(1, "b", DAY_M + 5, of="r1")])
    assert (before.figures["hit"][1], after.figures["hit"][1]) == (0.0, 1.0)


def test_without_a_log_there_is_no_day(tmp_path: Path) -> None:
    assert _sum_up(tmp_path) == []
    assert not (tmp_path / "watched").exists()


def test_nobodys_id_is_kept(tmp_path: Path) -> None:
    shown: Prediction = answer("r1", DAY_M, user_id="somebody@example.org")
    write(tmp_path / "log", answer("r0"), shown)
    assert _sum_up(tmp_path)
    assert b"somebody" not in (tmp_path / "watched" / "answers.json").read_bytes()
