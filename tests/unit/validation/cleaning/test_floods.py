"""Floods and bots leave the clean table and nothing else does: habits, hot items and ids of many people stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.logs.events import EventLog, Interaction
from core.settings.source import TablesSource
from core.settings.validation import CleaningSettings, FloodSettings, ValidationSettings
from tests.unit.validation.scans import Scanned, scan_raw, scan_source
from tests.unit.validation.source_files import read_rows
from validation.gate import validate
from validation.quarantine.readmission import readmit, select
from validation.sources.ingest import ingest
from validation.summary import ValidationSummary

OPENS_AT = datetime(2023, 1, 1, tzinfo=UTC)
DAY_S = 86_400
N_FLOOD = 1_100
Row = dict[str, Any]


def _shop(
    n: int = 10_000, users: int = 500, items: int = 200, days: int = 100, event: str = "", zipf: float = 1.0
) -> list[Row]:
    """A shop's log: some users and items have far more events than others."""
    rng = np.random.default_rng(0)
    popular = 1 / np.arange(1, items + 1) ** zipf
    busy = rng.lognormal(0, 1, users)
    events = [event] * n if event else rng.choice(["view", "purchase", "cart"], n, p=[0.7, 0.25, 0.05])
    columns = (
        rng.choice(users, n, p=busy / busy.sum()),
        rng.choice(items, n, p=popular / popular.sum()),
        events,
        rng.integers(0, days * DAY_S, n),
    )
    return [_row(f"u{user}", f"i{item}", str(name), int(at)) for user, item, name, at in zip(*columns, strict=True)]


def _row(user: str, item: str, event: str, at_s: float) -> Row:
    return {"user_id": user, "item_id": item, "event": event, "timestamp": OPENS_AT + timedelta(seconds=at_s)}


def _flood(
    span_s: float,
    n: int = N_FLOOD,
    users: Sequence[str] = ("ghost",),
    items: Sequence[str] = ("i90",),
    event: str = "view",
) -> list[Row]:
    """Events at even distances, users and items in turn."""
    return [
        _row(users[i % len(users)], items[i // len(users) % len(items)], event, 40 * DAY_S + span_s * i / n)
        for i in range(n)
    ]


def _scan(tmp_path: Path, rows: list[Row], log: Path | None = None, **floods: Any) -> Scanned:
    settings = ValidationSettings(cleaning=CleaningSettings(floods=FloodSettings(**floods)))
    return scan_source(tmp_path, _source(tmp_path, rows), settings, event_log=log, readmitted=tmp_path / "readmitted")


def _validate(tmp_path: Path, rows: list[Row]) -> ValidationSummary:
    """Through the whole gate, which writes the quarantine and the documents."""
    ingest(_source(tmp_path, rows), tmp_path / "raw")
    return validate(tmp_path / "raw", tmp_path / "clean", ValidationSettings(), tmp_path / "docs")


def _source(tmp_path: Path, rows: list[Row]) -> TablesSource:
    columns = [{"event_id": f"e{i}", **row} for i, row in enumerate(rows)]
    (tmp_path / "in").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(columns), tmp_path / "in" / "interactions.parquet")
    return TablesSource(path=tmp_path / "in")


def _clean(found: Scanned, *users: str) -> list[Row]:
    return [row for row in found.clean_rows["interactions"] if row["user_id"] in users]


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(_flood(3_600), id="an hour"),
        pytest.param(_flood(3_600, items=["i0"]), id="the item that all like"),
        pytest.param(_flood(21 * DAY_S), id="three weeks"),
        pytest.param(_flood(60 * DAY_S), id="two months"),
        pytest.param(_flood(3_600, users=["a", "b", "c"]), id="three clients"),
        pytest.param(_flood(21 * DAY_S, users=["a", "b", "c"]), id="three clients in three weeks"),
        pytest.param(_flood(3_600, items=[f"i{i}" for i in range(5)]), id="five items"),
        pytest.param(_flood(0), id="one timestamp"),
        pytest.param(_flood(3_600, n=20_000), id="two thirds of the table"),
    ],
)
def test_the_surplus_of_a_flood_goes_to_quarantine(tmp_path: Path, flood: list[Row]) -> None:
    shop = _shop()
    counts = _scan(tmp_path, [*shop, *flood]).tables["interactions"]
    kept = counts.rows_clean - len(shop)
    assert counts.rules == {"flood": len(flood) - kept}
    assert counts.rows_flooded == len(flood) - kept
    groups = {(row["user_id"], row["item_id"]) for row in flood}
    assert len(groups) <= kept <= 10 * len(groups)


def test_the_first_events_of_a_flood_stay_and_all_of_the_shop(tmp_path: Path) -> None:
    flood = _flood(3_600, users=["u3"])
    shop = _shop()
    before = [row["timestamp"] for row in shop if row["user_id"] == "u3"]
    summary = _scan(tmp_path, [*reversed(flood), *shop])
    stayed = sorted(row["timestamp"] for row in _clean(summary, "u3"))
    assert [at for at in stayed if at not in before] == sorted(row["timestamp"] for row in flood)[
        : len(stayed) - len(before)
    ]
    assert len(before) < len(stayed) < len(before) + 10


def test_views_flood_a_shop_of_purchases(tmp_path: Path) -> None:
    summary = _scan(tmp_path, [*_shop(event="purchase"), *_flood(3_600)])
    assert summary.tables["interactions"].rules["flood"] > N_FLOOD - 10


def test_a_flood_is_shown_with_its_user_item_and_counts(tmp_path: Path) -> None:
    summary = _validate(tmp_path, [*_shop(), *_flood(3_600, users=["<ghost>"])])
    found = summary.tables["interactions"].rules["flood"]
    page = summary.docs.read_text()
    assert "Floods and bots" in page
    assert f'<td>&lt;ghost&gt;</td><td>i90</td>\n          <td>view</td><td class="number">{N_FLOOD:,}</td>' in page
    assert f"{found:,}" in page


def test_a_flood_is_only_counted_or_let_through_where_the_settings_say_so(tmp_path: Path) -> None:
    rows = [*_shop(), *_flood(3_600)]
    warned = _scan(tmp_path, rows, action="warn").tables["interactions"]
    assert (warned.rows_clean, warned.rules) == (len(rows), {})
    assert warned.warnings["flood"] > N_FLOOD - 10
    off = _scan(tmp_path, rows, action="off").tables["interactions"]
    assert (off.rows_clean, off.rules, off.warnings) == (len(rows), {}, {})


@pytest.mark.parametrize("floods", [{"factor": 2_000}, {"min_repeats": N_FLOOD + 1}, {"min_share": 0.2}])
def test_each_threshold_holds(tmp_path: Path, floods: dict[str, Any]) -> None:
    assert _scan(tmp_path, [*_shop(), *_flood(3_600)], **floods).tables["interactions"].rules == {}


def test_exact_copies_are_no_flood(tmp_path: Path) -> None:
    copies = [{"event_id": "one", **row} for row in _flood(0)]
    counts = _scan(tmp_path, [*_shop(), *copies]).tables["interactions"]
    assert (counts.rules, counts.duplicates) == ({"exact_duplicate": N_FLOOD - 1}, N_FLOOD - 1)


def test_floods_leave_before_the_core_is_found(tmp_path: Path) -> None:
    source = _source(tmp_path, [*_shop(), *_flood(3_600, items=["rare"])])
    found = scan_source(tmp_path, source, ValidationSettings(cleaning=CleaningSettings(min_item_events=10)))
    assert _clean(found, "ghost") == []  # what stays of the flood is too little for the item
    assert found.tables["interactions"].rules["k_core"] >= 1


def test_a_flood_does_not_stop_the_flow(tmp_path: Path) -> None:
    summary = _validate(tmp_path, [*_shop(), *_flood(3_600, n=5_000)])
    assert summary.tables["interactions"].quarantined_share > ValidationSettings().max_quarantined_share


def test_a_flood_in_the_services_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "events.sqlite"
    EventLog(log).append([Interaction(event_id=f"live{i}", **row) for i, row in enumerate(_flood(3_600))])
    counts = _scan(tmp_path, _shop(), log).tables["interactions"]
    assert counts.rules["flood"] > N_FLOOD - 10


def test_a_flood_that_a_person_lets_in_again_stays(tmp_path: Path) -> None:
    rows = [*_shop(), *_flood(3_600)]
    summary = _validate(tmp_path, rows)
    chosen = select(summary.quarantine, "interactions", ("flood",))
    assert len(chosen) == summary.tables["interactions"].rules["flood"]
    readmit(chosen, tmp_path / "readmitted")
    after = _scan(tmp_path, rows)
    assert len(_clean(after, "ghost")) == N_FLOOD
    assert after.tables["interactions"].rows_quarantined == len(chosen)  # the source's own rows are still there


def test_a_user_at_an_inhuman_pace_is_a_bot(tmp_path: Path) -> None:
    every = [f"i{i}" for i in range(200)]
    rng = np.random.default_rng(1)
    hasty = [_row("hasty", every[i % 200], "view", at) for i, at in enumerate(np.sort(rng.random(N_FLOOD)) * 500)]
    clock = _flood(45 * N_FLOOD, users=["clock"], items=every)
    summary = _validate(tmp_path, [*_shop(), *hasty, *clock])
    assert summary.tables["interactions"].rules == {"bot": 2 * N_FLOOD}
    assert not {"hasty", "clock"} & {row["user_id"] for row in read_rows(summary.folder / "interactions.parquet")}
    assert "<code>bot</code></td><td>clock</td>" in summary.docs.read_text()
    spared = _scan(tmp_path, [*_shop(), *hasty, *clock], min_events=N_FLOOD + 1)
    assert spared.tables["interactions"].rules == {}


def _milk(times_a_day: int = 1) -> list[Row]:
    times = [day * DAY_S + minute * 60 for day in range(730) for minute in range(times_a_day)]
    return [_row("milky", "i70", "purchase", at) for at in times]


def _orders_of_many_pieces() -> list[Row]:
    return [_row("cafe", "i70", "purchase", week * 7 * DAY_S) for week in range(100) for _ in range(24)]


def _as_guest(rows: list[Row], tenths: int) -> list[Row]:
    return [{**row, "user_id": "guest"} if i % 10 < tenths else row for i, row in enumerate(rows)]


def _by_day(rows: list[Row]) -> list[Row]:
    return [{**row, "timestamp": row["timestamp"].replace(hour=0, minute=0, second=0)} for row in rows]


def _songs() -> list[Row]:
    rng = np.random.default_rng(2)
    return [
        _row(f"u{user}", f"i{user}-{rng.integers(10)}", "view", int(rng.integers(20 * DAY_S)))
        for user in range(40)
        for _ in range(500)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(_shop(), id="a shop"),
        pytest.param(_shop(100, users=8), id="a hundred events"),
        pytest.param(_shop(zipf=3.0), id="one hot item"),
        pytest.param(_by_day(_shop()), id="days without hours"),
        pytest.param([*_shop(5_000, days=730), *_milk()], id="the same milk every day"),
        pytest.param([*_shop(5_000, days=730), *_milk(3)], id="three times a day"),
        pytest.param([*_shop(days=730), *_orders_of_many_pieces()], id="orders of many pieces"),
        pytest.param(_as_guest(_shop(), 4), id="a guest id"),
        pytest.param(_as_guest(_shop(20_000, items=20, days=5), 8), id="a guest id on few items"),
        pytest.param(_as_guest(_shop(20_000, days=1), 4), id="a guest id in one day"),
        pytest.param(
            [*_as_guest(_shop(20_000), 4), *_flood(3 * DAY_S, n=2_000, users=["guest"])], id="a guest id and a campaign"
        ),
        pytest.param(_songs(), id="songs that are heard again and again"),
        pytest.param([*_shop(), *_flood(400 * 3, n=400, items=[f"i{i}" for i in range(200)])], id="a busy hour"),
        pytest.param(
            [*_shop(), *_flood(600 * 540, n=600, items=[f"i{i}" for i in range(60)])], id="sixty items at nine minutes"
        ),
        pytest.param([*_shop(1_000, users=15), *_flood(3_600)], id="too few users to compare with"),
    ],
)  # fmt: skip
def test_what_people_do_is_no_flood(tmp_path: Path, rows: list[Row]) -> None:
    counts = _scan(tmp_path, rows).tables["interactions"]
    assert (counts.rules, counts.rows_clean) == ({}, len(rows))


def test_without_times_a_flood_is_not_separated_from_a_habit(tmp_path: Path) -> None:
    rows = [{**row, "timestamp": OPENS_AT} for row in [*_shop(), *_flood(0)]]
    summary = _scan(tmp_path, rows)
    assert summary.tables["interactions"].rules["flood"]
    note = tmp_path / "raw" / "raw.json"
    raw = json.loads(note.read_text())
    raw["parts"][0]["tables"]["interactions"]["columns"]["timestamp"] = (
        "make_timestamptz(1700000000000000 + source_number * 1000000)"
    )
    note.write_text(json.dumps(raw))
    assert scan_raw(tmp_path / "raw", ValidationSettings()).tables["interactions"].rules.get("flood") is None


def test_a_user_with_a_great_share_of_the_events_is_a_warning(tmp_path: Path) -> None:
    rows = _as_guest(_shop(), 4)
    counts = _scan(tmp_path, rows).tables["interactions"]
    assert counts.warnings == {"one_user_dominates": 4_000}
    assert _scan(tmp_path, rows, max_user_share=0.5).tables["interactions"].warnings == {}
    # What went to quarantine as a flood does not dominate any more.
    assert _scan(tmp_path, [*_shop(), *_flood(3_600, n=3_000)]).tables["interactions"].warnings == {}
