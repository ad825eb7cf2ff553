"""Ingest: fingerprints, the raw folder, the event log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.logs.events import EventLog, Interaction
from core.settings.source import SimulatedSource, TablesSource
from core.settings.validation import CleaningSettings, ValidationSettings
from tests.unit.validation.scans import scan_source
from tests.unit.validation.source_files import csv_bytes, events, read_parts, write
from validation.errors import SourceError
from validation.raw.writer import as_text
from validation.sources.ingest import ingest, read_note, source_fingerprint


def _log(path: Path, n: int) -> Path:
    at = datetime(2026, 7, 1, tzinfo=UTC)
    EventLog(path, above=0).append([Interaction(f"live{i}", "u1", "i1", "view", at.replace(hour=i)) for i in range(n)])
    return path


def test_the_fingerprint_follows_contents_settings_and_events_but_not_the_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "interactions.csv", csv_bytes(events(3)))
    first = source_fingerprint(TablesSource(path=tmp_path / "a"))
    assert source_fingerprint(TablesSource(path=tmp_path / "b")) == first
    assert source_fingerprint(TablesSource(path=tmp_path / "a", default_event="view")) != first
    assert source_fingerprint(TablesSource(path=tmp_path / "a"), tmp_path / "no.sqlite") == first
    assert source_fingerprint(TablesSource(path=tmp_path / "a"), _log(tmp_path / "e.sqlite", 1)) != first
    write(tmp_path / "a" / "interactions.csv", csv_bytes(events(4)))
    assert source_fingerprint(TablesSource(path=tmp_path / "a")) != first


def test_the_fingerprint_of_a_simulated_shop_is_that_of_its_settings() -> None:
    assert source_fingerprint(SimulatedSource(seed=1)) == source_fingerprint(SimulatedSource(seed=1))
    assert source_fingerprint(SimulatedSource(seed=1)) != source_fingerprint(SimulatedSource(seed=2))


def test_the_fingerprint_of_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere"):
        source_fingerprint(TablesSource(path=tmp_path / "nowhere"))


def test_a_raw_folder_holds_parts_and_a_note(tmp_path: Path) -> None:
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(5)))
    raw = ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    assert raw.rows == {"users": 0, "items": 0, "interactions": 5, "feedback": 0}
    assert raw.provided == ("interactions",)
    assert raw == read_note(tmp_path / "raw")
    names = sorted(path.name for path in (tmp_path / "raw").iterdir())
    assert names == ["interactions.parquet", "originals.json", "raw.json"]


def test_a_simulated_shop_gives_a_part_for_each_table(tmp_path: Path) -> None:
    raw = ingest(SimulatedSource(n_users=20, n_items=20, n_days=30), tmp_path / "raw")
    assert [list(part.tables) for part in raw.parts] == [["users"], ["items"], ["interactions"], ["feedback"]]
    assert raw.provided == ("feedback", "interactions", "items", "users")
    rows = read_parts(raw.folder, raw.parts)
    assert {table: len(found) for table, found in rows.items()} == raw.rows
    assert json.loads(rows["items"][0]["attributes"])["origin"]


def test_events_of_the_log_come_after_the_source(tmp_path: Path) -> None:
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(2)))
    raw = ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw", _log(tmp_path / "e.sqlite", 3))
    assert [part.origin for part in raw.parts] == ["source", "events"]
    rows = read_parts(raw.folder, raw.parts)["interactions"]
    assert [row["event_id"] for row in rows] == ["e0", "e1", "live0", "live1", "live2"]
    assert (rows[2]["source_file"], rows[2]["source_number"], rows[2]["position"]) == ("events", 1, "1")
    assert rows[2]["timestamp"] == "2026-07-01T00:00:00+00:00"
    assert raw.provided == ("interactions",)


def test_another_log_of_as_many_events_is_another_input(tmp_path: Path) -> None:
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(2)))
    source, log = TablesSource(path=tmp_path / "in"), tmp_path / "e.sqlite"
    before = source_fingerprint(source, _log(log, 2))
    log.unlink()
    EventLog(log).append(
        [Interaction(f"other{n}", "u1", "i1", "view", datetime(2026, 7, 2, tzinfo=UTC)) for n in (1, 2)]
    )
    assert source_fingerprint(source, log) != before


def test_rows_that_were_let_in_again_come_last_and_count_in_the_fingerprint(tmp_path: Path) -> None:
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(2)))
    source, folder = TablesSource(path=tmp_path / "in"), tmp_path / "readmitted"
    assert source_fingerprint(source, None, folder) == source_fingerprint(source)
    folder.mkdir()
    item = {"item_id": "i9", "title": "Tea", "price": "4.5"}
    rows = [
        {"values": json.dumps(item), "attributes": '{"colour": "red"}', "source_file": "items.csv", "source_number": 7},
        {"values": '{"item_id": null}', "attributes": "", "source_file": "items.csv", "source_number": 9},
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "items-0a1b.parquet")

    raw = ingest(source, tmp_path / "raw", None, folder)
    assert raw.fingerprint == source_fingerprint(source, None, folder) != source_fingerprint(source)
    assert [part.origin for part in raw.parts] == ["source", "readmitted"]
    assert (raw.provided, raw.rows["items"]) == (("interactions",), 2)
    first, second = read_parts(raw.folder, raw.parts)["items"]
    assert (first["item_id"], first["title"], first["price"], first["brand"]) == ("i9", "Tea", "4.5", None)
    assert (json.loads(first["attributes"]), second["attributes"]) == ({"colour": "red"}, None)
    assert (first["source_file"], first["source_number"], second["item_id"]) == ("items.csv", 7, None)


def test_a_source_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(3)) + b'"e9')
    with pytest.raises(SourceError, match="cut off"):
        ingest(TablesSource(path=tmp_path / "in"), tmp_path / "work" / "raw")
    assert list((tmp_path / "work").iterdir()) == []


def test_logged_events_read_as_columns_are_the_texts_of_their_values_sealed_or_not(tmp_path: Path) -> None:
    moments = [
        datetime(2026, 7, 1, tzinfo=UTC),
        datetime(2026, 7, 1, 1, 2, 3, 40, tzinfo=UTC),
        datetime(2026, 7, 1, 1, 2, 3, 500_000, tzinfo=UTC),
        datetime(1995, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    values = [None, 4.0, 3.5, 1e16, 0.1 + 0.2, -0.0, float("inf")]
    logged = [
        Interaction(f"ü{n}", f" u{n}\n", f"i{n}", "rating", moments[n % 4], values[n % 7], "r", n) for n in range(28)
    ]
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(2)))
    log = EventLog(tmp_path / "events.sqlite", above=0)
    log.append(logged)
    names = ("event_id", "user_id", "item_id", "event", "value", "timestamp", "position")
    expected = [
        {**{name: as_text(getattr(one, name, number)) for name in names}, "attributes": None}
        for number, one in enumerate(logged, 1)
    ]
    fingerprints = []
    for state in ("live", "half", "sealed"):
        raw = ingest(TablesSource(path=tmp_path / "in"), tmp_path / state, log.path)
        fingerprints.append(raw.fingerprint)
        assert (raw.log_sequence, raw.rows["interactions"]) == (log.newest(), 2 + len(expected))
        rows = pq.read_table(tmp_path / state / "events-interactions.parquet").to_pylist()
        assert [row["source"] for row in rows] == expected
        assert [row["source_number"] for row in rows] == list(range(1, len(expected) + 1))
        assert {row["source_file"] for row in rows} == {"events"}
        log.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=1)
        if state == "live":
            further = Interaction("late", "u", "i", "view", moments[0])
            log.append([further])
            expected.append({**{name: as_text(getattr(further, name, 29)) for name in names}, "attributes": None})
    assert fingerprints[0] != fingerprints[1] == fingerprints[2]


def test_what_is_sent_again_after_it_was_sealed_counts_once(tmp_path: Path) -> None:
    """Also where the table that knew it was lost: the gate finds it twice then."""
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(2)))
    log = EventLog(_log(tmp_path / "events.sqlite", 3))
    log.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=1)
    again = [Interaction("live1", "u1", "i1", "view", datetime(2026, 7, 1, 1, tzinfo=UTC))]
    assert log.append(again) == []
    log.close()
    for file in tmp_path.glob("events.sqlite*"):
        file.unlink()
    assert log.append(again) == again
    rules = ValidationSettings(min_interactions=1, max_quarantined_share=1.0, cleaning=CleaningSettings())
    found = scan_source(tmp_path, TablesSource(path=tmp_path / "in"), rules, event_log=log.path)
    assert found.clean("interactions", "event_id") == ["e0", "e1", "live0", "live1", "live2"]


def test_events_come_from_segments_whose_table_is_lost(tmp_path: Path) -> None:
    write(tmp_path / "in" / "interactions.csv", csv_bytes(events(2)))
    log = EventLog(_log(tmp_path / "events.sqlite", 3))
    log.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=1)
    for file in tmp_path.glob("events.sqlite*"):
        file.unlink()
    raw = ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw", log.path)
    assert (raw.rows["interactions"], raw.log_sequence) == (5, 3)
    assert not log.path.exists()
