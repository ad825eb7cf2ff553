"""The data gate: which rows are clean, which are not and why."""

from __future__ import annotations

import collections
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.quarantine.rows import read_note
from core.schema import TABLES
from core.settings.source import TablesSource
from core.settings.validation import OwnRule, ValidationSettings
from tests.unit.validation.scans import scan_rows
from tests.unit.validation.source_files import events, json_lines, read_rows, write
from validation.errors import TableRejected
from validation.gate import validate
from validation.raw.originals import read_originals
from validation.sources.ingest import ingest
from validation.summary import SUMMARY_FILE, ValidationSummary

RULES = ValidationSettings(min_interactions=1, max_quarantined_share=1.0)


def _validate(tmp_path: Path, settings: ValidationSettings = RULES, **tables: list[Any]) -> ValidationSummary:
    """Validate tables given as rows."""
    for name, rows in tables.items():
        write(tmp_path / "in" / f"{name}.jsonl", json_lines(*rows))
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    return validate(tmp_path / "raw", tmp_path / "clean", settings, tmp_path / "docs")


def test_a_rows_rules_count_for_its_copies_too(tmp_path: Path) -> None:
    empty = {"item_id": "i1", "user_id": "", "value": "", "timestamp": ""}
    summary = _validate(tmp_path, interactions=[*events(9), *[empty] * 5])
    counts = summary.tables["interactions"]
    assert (counts.rows_in, counts.rows_clean, counts.rows_quarantined, counts.duplicates) == (14, 9, 1, 4)
    assert counts.rules["row_nearly_empty"] == 5
    assert counts.rules["exact_duplicate"] == 4
    (row,) = _quarantined(tmp_path, "interactions")
    assert row["rules"] == ["row_nearly_empty", "user_id_required", "timestamp_required"]


def test_the_first_good_row_of_a_key_stays_not_the_first_bad_one(tmp_path: Path) -> None:
    rows = [_event(event="wish"), _event(item_id="i2"), _event(item_id="i3")]
    summary = _validate(tmp_path, interactions=rows)
    assert [row["item_id"] for row in read_rows(tmp_path / "clean" / "interactions.parquet")] == ["i2"]
    assert summary.tables["interactions"].rules == {"event_in_set": 1, "key_unique": 2}


def test_events_whose_position_contradicts_their_time_are_a_warning(tmp_path: Path) -> None:
    times = ["2025-01-01", "2025-01-03", "2025-01-02"]
    rows = [_event(event_id=str(i), position=10 * i, timestamp=at) for i, at in enumerate(times)]
    summary = _validate(tmp_path, interactions=[*rows, _event(event_id="z", user_id="u2", position=99)])
    assert summary.tables["interactions"].warnings == {"time_in_order": 1}
    assert summary.tables["interactions"].rows_clean == 4
    assert summary.gx_success


def test_a_position_that_is_no_whole_number_sends_its_row_to_quarantine(tmp_path: Path) -> None:
    said = ["3", "1_000", " 4 ", "0x10", "1.5", "five", "6.0", ""]
    found = scan_rows(tmp_path, interactions=[_event(event_id=f"e{i}", position=one) for i, one in enumerate(said)])
    assert found.clean("interactions", "position") == [3, 4, 6, 8]
    assert found.broken() == [["position_parses"]] * 4


def test_rows_without_positions_of_their_own_are_not_held_against_the_order(tmp_path: Path) -> None:
    rows = [_event(event_id=str(i), timestamp=f"2025-01-{9 - i:02d}") for i in range(5)]
    assert not _validate(tmp_path, interactions=rows).warnings


def _quarantined(tmp_path: Path, table: str) -> list[dict[str, Any]]:
    return read_rows(tmp_path / "clean" / "quarantine" / f"{table}.parquet")


def _event(**changes: Any) -> dict[str, Any]:
    row = {"event_id": "x", "user_id": "u1", "item_id": "i1", "event": "view", "timestamp": "2025-01-02T03:04:05Z"}
    return {**row, **changes}


BAD_EVENTS = [
    ("user_id_required", {"user_id": " "}),
    ("item_id_required", {"item_id": None}),
    ("timestamp_required", {"timestamp": ""}),
    ("timestamp_parses", {"timestamp": "31/31/25"}),
    ("timestamp_in_range", {"timestamp": "2199-01-01"}),
    ("timestamp_in_range", {"timestamp": 12}),
    ("event_in_set", {"event": "wishlist"}),
    ("value_parses", {"event": "rating", "value": "Like"}),
    ("value_parses", {"event": "rating", "value": "Like"}),
    ("rating_has_value", {"event": "rating", "value": "nan"}),
    ("value_in_range", {"event": "rating", "value": 5.5}),
    ("rating_has_value", {"event": "rating"}),
    ("key_unique", {"event_id": "e0", "item_id": "i9"}),
    ("item_id_short_enough", {"item_id": "i" * 3000}),
    ("item_id_intact", {"item_id": "i\x00"}),
    ("user_id_intact", {"user_id": "u\ufffd"}),
    ("event_id_intact", {"event_id": "e\ufffd"}),
]


def test_a_bad_interaction_goes_to_quarantine_with_its_rule(tmp_path: Path) -> None:
    bad = [_event(**{"event_id": f"bad{i}", **changes}) for i, (_, changes) in enumerate(BAD_EVENTS)]
    summary = _validate(tmp_path, interactions=[*events(4), *bad])
    rows = _quarantined(tmp_path, "interactions")
    assert [row["rules"] for row in rows] == [[rule] for rule, _ in BAD_EVENTS]
    assert [json.loads(row["source_row"]) for row in rows] == bad
    assert [row["source_position"] for row in rows] == [f"interactions.jsonl:{5 + i}" for i in range(len(bad))]
    assert {row["table"] for row in rows} == {"interactions"}
    counts = summary.tables["interactions"]
    assert (counts.rows_in, counts.rows_clean, counts.rows_quarantined) == (4 + len(bad), 4, len(bad))
    assert counts.rules == collections.Counter(rule for rule, _ in BAD_EVENTS)
    assert not counts.warnings
    assert not summary.gx_success
    note = read_note(tmp_path / "clean" / "quarantine")
    assert note.read_at == read_originals(tmp_path / "clean" / "quarantine").read_at
    assert all((words := note.words_of("interactions", rule)) and words.why for rule, _ in BAD_EVENTS)


def test_half_a_character_in_an_id_is_refused_and_not_taken_for_another_id(tmp_path: Path) -> None:
    """JSON can say a lone surrogate, which is no character."""
    bad = [_event(event_id=f"bad{n}", user_id=f"u{half}") for n, half in enumerate(("\ud800", "\udc00"))]
    summary = _validate(tmp_path, interactions=[*events(4), *bad])
    assert summary.tables["interactions"].rules == {"user_id_intact": 2}


def test_good_rows_are_typed_and_exact_copies_dropped(tmp_path: Path) -> None:
    good = _event(event="RATING", value="4", timestamp="1393545600.5")
    summary = _validate(tmp_path, interactions=[good, good, _event(event_id="y", timestamp=1393545600123)])
    assert summary.gx_success
    assert summary.tables["interactions"].duplicates == 1
    first, second = read_rows(tmp_path / "clean" / "interactions.parquet")
    assert (first["event"], first["value"], first["position"]) == ("rating", 4.0, 1)
    assert first["timestamp"] == datetime(2014, 2, 28, 0, 0, 0, 500_000, tzinfo=UTC)
    assert second["timestamp"] == datetime(2014, 2, 28, 0, 0, 0, 123_000, tzinfo=UTC)


def test_the_clean_tables_have_the_contracts_columns_and_types(tmp_path: Path) -> None:
    _validate(tmp_path, interactions=events(5), items=[{"item_id": f"i{i}", "colour": "red"} for i in range(5)])
    for name, table in TABLES.items():
        written = pq.read_table(tmp_path / "clean" / f"{name}.parquet")
        extra = [("colour", pa.string())] if name == "items" else []
        contract = [(column.name, column.type) for column in table.columns]
        assert [(field.name, field.type) for field in written.schema] == [*contract, *extra]
        assert not any(written[column.name].null_count for column in table.columns if column.required)


def test_clean_rows_keep_the_order_of_the_source(tmp_path: Path) -> None:
    """Over many row groups, which DuckDB reads by two threads."""
    n = 300_000
    numbers = pa.array(range(n))
    ids = pa.compute.cast(numbers, pa.string())
    moments = pa.compute.add(numbers, 1_700_000_000_000_000).cast(pa.timestamp("us", tz="UTC"))
    columns = {"event_id": ids, "user_id": ids, "item_id": ids, "timestamp": moments}
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "in" / "interactions.parquet", row_group_size=20_000)
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    validate(tmp_path / "raw", tmp_path / "clean", RULES, tmp_path / "docs")
    assert pq.read_table(tmp_path / "clean" / "interactions.parquet")["event_id"].to_pylist() == ids.to_pylist()


def test_missing_users_and_items_are_derived_from_the_events(tmp_path: Path) -> None:
    rows = [_event(event_id="a"), _event(event_id="b", user_id="u2", item_id="i7"), _event(event_id="c", user_id="")]
    feedback = [{"user_id": "u3", "item_id": "i8", "text": "Nice", "timestamp": "2025-01-01"}]
    summary = _validate(tmp_path, interactions=rows, feedback=feedback)
    assert [row["user_id"] for row in read_rows(tmp_path / "clean" / "users.parquet")] == ["u1", "u2", "u3"]
    assert [row["item_id"] for row in read_rows(tmp_path / "clean" / "items.parquet")] == ["i1", "i7", "i8"]
    assert (summary.tables["users"].rows_in, summary.tables["users"].rows_derived) == (0, 3)


def test_an_item_that_the_shop_does_not_list_is_unknown_but_one_whose_row_is_bad_is_not(tmp_path: Path) -> None:
    items = [{"item_id": "i1", "created_at": "soon", "title": "Tea", "price": 4}, {"item_id": "i2", "title": "Cup"}]
    rule = OwnRule(name="cheap", table="items", check="between", column="price", maximum=3)
    rows = [_event(event_id="a"), _event(event_id="b", item_id="i2"), _event(event_id="c", item_id="gone")]
    _validate(tmp_path, RULES.model_copy(update={"rules": (rule,)}), interactions=rows, items=items)
    assert [row["rules"] for row in _quarantined(tmp_path, "items")] == [["cheap"]]
    assert [row["rules"] for row in _quarantined(tmp_path, "interactions")] == [["item_id_known"]]
    clean = {row["item_id"]: row["title"] for row in read_rows(tmp_path / "clean" / "items.parquet")}
    assert clean == {"i1": None, "i2": "Cup"}


def test_texts_are_tidied_and_those_without_words_are_no_bad_rows(tmp_path: Path) -> None:
    who = {"user_id": "u1", "item_id": "i1"}
    feedback = [
        {**who, "text": "A &quot;fine&quot; cup.Warm.", "rating": 5, "timestamp": "2025-01-01"},
        {**who, "text": "&nbsp; ", "timestamp": "2025-01-02"},
        {**who, "text": "x" * 101, "timestamp": "2025-01-03"},
        {**who, "text": "Good", "rating": "Like", "timestamp": "2025-01-04"},
    ]
    settings = RULES.model_copy(update={"max_text_chars": 100})
    counts = _validate(tmp_path, settings, interactions=events(2), feedback=feedback).tables["feedback"]
    clean = [(row["text"], row["rating"]) for row in read_rows(tmp_path / "clean" / "feedback.parquet")]
    assert clean == [('A "fine" cup. Warm.', 5.0), ("Good", None)]
    broken = [row["rules"] for row in _quarantined(tmp_path, "feedback")]
    assert broken == [["text_required"], ["text_in_range"]]
    assert (counts.rows_without_words, counts.bad_share) == (1, 1 / 3)
    assert (counts.warnings["rating_parses"], counts.cleaned["emptied_rating"]) == (1, 1)


def test_an_unreadable_row_is_quarantined_with_its_text(tmp_path: Path) -> None:
    summary = _validate(tmp_path, interactions=[*events(3), '{"event_id": "x", ', *events(4)[3:]])
    (row,) = _quarantined(tmp_path, "interactions")
    assert row["rules"] == ["row_readable"]
    assert row["source_row"] == '{"event_id": "x",'
    assert summary.tables["interactions"].rows_clean == 4


def test_prices_as_shops_write_them(tmp_path: Path) -> None:
    prices = ["$1,299.00", "1,300", "7.5", "free", "1e3", ""]
    items = [{"item_id": f"i{i}", "price": price} for i, price in enumerate(prices)]
    summary = _validate(tmp_path, interactions=[_event(item_id="i0")], items=items)
    clean = [row["price"] for row in read_rows(tmp_path / "clean" / "items.parquet")]
    assert clean == [1299.0, 1300.0, 7.5, None, 1000.0, None]
    assert summary.tables["items"].warnings["price_parses"] == 1


def test_a_value_on_another_event_is_a_warning_and_dropped(tmp_path: Path) -> None:
    summary = _validate(tmp_path, interactions=[_event(value=3)])
    assert summary.tables["interactions"].warnings == {"value_of_rating_only": 1}
    assert summary.gx_success
    assert read_rows(tmp_path / "clean" / "interactions.parquet")[0]["value"] is None


def test_too_few_interactions_are_rejected_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(TableRejected, match=r"clean interactions=3, expected at least 50 \(interactions\)"):
        _validate(tmp_path, RULES.model_copy(update={"min_interactions": 50}), interactions=events(3))
    assert not (tmp_path / "clean").exists()
    assert (tmp_path / "docs" / "index.html").exists()


def test_too_many_bad_rows_are_rejected_with_the_worst_rules(tmp_path: Path) -> None:
    rows = [*events(6), *[_event(event_id=f"x{i}", event="wish") for i in range(4)]]
    with pytest.raises(TableRejected, match=r"quarantined_share=0\.400 \(event_in_set 4: 'wish'\), expected.* 0\.2"):
        _validate(tmp_path, RULES.model_copy(update={"max_quarantined_share": 0.2}), interactions=rows)


def test_a_required_column_without_a_value_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(TableRejected, match=r"timestamp=null in all 5 rows"):
        _validate(tmp_path, interactions=[{**row, "timestamp": ""} for row in events(5)])


def test_the_summary_on_disk_is_the_one_returned(tmp_path: Path) -> None:
    summary = _validate(tmp_path, interactions=events(3))
    assert ValidationSummary.model_validate_json((summary.folder / SUMMARY_FILE).read_text()) == summary


def test_titles_that_stand_twice_and_words_that_say_nothing_are_told(tmp_path: Path) -> None:
    items = [
        {"item_id": "i1", "title": "Tea", "brand": "Unknown"},
        {"item_id": "i2", "title": "Tea", "category": "N/A"},
        {"item_id": "i3", "title": "Unknown pleasures", "brand": "None but the best"},
    ]
    events = [{"user_id": "u", "item_id": f"i{n % 3 + 1}", "timestamp": f"2026-05-{n + 1:02}"} for n in range(12)]
    write(tmp_path / "in" / "items.jsonl", json_lines(*items))
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events))
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    settings = ValidationSettings(min_interactions=1)
    found = validate(tmp_path / "raw", tmp_path / "clean", settings, tmp_path / "docs").tables["items"]
    assert found.rows_clean == 3
    assert found.warnings == {"title_unique": 1, "brand_is_no_placeholder": 1}
