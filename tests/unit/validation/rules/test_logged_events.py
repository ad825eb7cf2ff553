"""The service and the data gate take the same events: one definition, in `core.events`, held against the gate's SQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

from core.events import CLOCK_SKEW, EARLIEST, as_kept
from core.logs.events import EventLog, Interaction
from core.settings.source import TablesSource
from core.settings.validation import CleaningSettings, ValidationSettings
from tests.unit.validation.scans import scan_source
from tests.unit.validation.source_files import events, json_lines, read_rows, write
from validation.gate import validate
from validation.sources.ingest import ingest

RULES = ValidationSettings(min_interactions=1, max_quarantined_share=1.0, cleaning=CleaningSettings())
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDS = (
    "u",
    " u",
    "7.0",
    "-7.00",
    "7.5",
    "null",
    "NaN",
    "\u00a0",
    "  ",
    "\tu",
    '{"$oid": "ab"}',
    '{"$oid": " 3.0 "}',
    "u" * 2049,
)
KINDS = ("view", "impression", "rating", "wish")
# Three ratings off the scale would mean another scale, and reject the table.
VALUES = (None, 1.0, 5.0, 4.3, 0.5, 5.5)


def logged() -> list[Interaction]:
    """Events as a log of any release may hold them, each with an id of its own."""
    of_ids = [("u", "i", kind, value) for kind, value in product(KINDS, VALUES)]
    of_ids += [(id_, "i", "view", None) for id_ in IDS] + [("u", id_, "rating", 2.0) for id_ in IDS]
    made = [
        Interaction(f"l{n}", user, item, kind, NOON + timedelta(seconds=n), value)
        for n, (user, item, kind, value) in enumerate(of_ids)
    ]
    return made + [
        Interaction(id_, "u", "i", "view", NOON - timedelta(days=n))
        for n, id_ in enumerate(IDS)
        if id_ not in (" u", "\tu")  # the id of another one then
    ]


def gate(tmp_path: Path, log: list[Interaction]) -> list[tuple[object, ...]]:
    """What the clean tables hold of a log, beside a source of ten events."""
    EventLog(tmp_path / "events.sqlite").append(log)
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(10)))
    found = scan_source(tmp_path, TablesSource(path=tmp_path / "in"), RULES, event_log=tmp_path / "events.sqlite")
    return found.clean("interactions", "user_id", "item_id", "event", "value", "timestamp")[10:]


def test_the_gate_lets_in_what_the_online_store_takes_in(tmp_path: Path) -> None:
    log = logged()
    kept = [event for one in log if (event := as_kept(one)) is not None]
    # An event's id is filled in by the gate where it is blank: those are never logged by the service.
    assert gate(tmp_path, [one for one in log if one.event_id.strip(" \u00a0")]) == [
        (one.user_id, one.item_id, one.event, one.value, one.timestamp) for one in kept
    ]
    assert len(kept) > len(log) / 2


def test_the_gate_takes_a_clock_that_is_as_far_ahead_as_the_service_does(tmp_path: Path) -> None:
    ahead = datetime.now(UTC) + CLOCK_SKEW - timedelta(seconds=30)
    log = [Interaction("ahead", "u", "i", "view", ahead), Interaction("far", "u", "i", "view", ahead + CLOCK_SKEW)]
    assert [row[-1] for row in gate(tmp_path, log)] == [ahead]


def test_the_services_earliest_day_is_the_gates() -> None:
    assert ValidationSettings().earliest == EARLIEST


def test_events_of_the_log_that_the_source_exports_are_copies(tmp_path: Path) -> None:
    """Also when they are most of the source; an id that the source gives to another event is an id given twice."""
    log = [Interaction(f"l{n}", f"u{n}", "i", "view", NOON + timedelta(seconds=n)) for n in range(20)]
    EventLog(tmp_path / "events.sqlite").append(log)
    exported = [
        {"event_id": one.event_id, "user_id": one.user_id, "item_id": "i", "event": "view", "timestamp": "2026-03-01"}
        for one in log
    ]
    exported[0]["user_id"] = "another"
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(10), *exported))
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw", tmp_path / "events.sqlite")
    strict = ValidationSettings(min_interactions=1, max_quarantined_share=0.1)
    counts = validate(tmp_path / "raw", tmp_path / "clean", strict, tmp_path / "docs").tables["interactions"]
    assert (counts.rows_in, counts.rows_clean, counts.duplicates) == (50, 30, 19)
    assert counts.rules == {"exact_duplicate": 19, "key_unique": 1}
    rows = {row["event_id"]: row for row in read_rows(tmp_path / "clean" / "interactions.parquet")}
    assert [rows[one.event_id]["timestamp"] for one in log[1:]] == [one.timestamp for one in log[1:]]


def test_the_answer_that_showed_an_item_is_no_column_of_the_tables(tmp_path: Path) -> None:
    plain = Interaction("l1", "u", "i", "click", NOON)
    assert gate(tmp_path, [replace(plain, recommendation_id="r-1", shown_position=3)]) == [
        ("u", "i", "click", None, NOON)
    ]
    assert not [path for path in (tmp_path / "raw").rglob("*") if path.is_file() and b"r-1" in path.read_bytes()]
