"""Out of quarantine and in again: what a person corrects comes back clean, and nothing is counted twice."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.events import canonical_id
from core.logs.events import EventLog, Interaction
from core.quarantine.rows import QuarantinedRow
from core.settings.source import TablesSource
from core.settings.validation import CleaningSettings, OwnRule, ValidationSettings
from tests.unit.validation.scans import Scanned, scan_source
from tests.unit.validation.source_files import csv_bytes, events, json_lines, read_rows, write
from validation.errors import ReadmissionError
from validation.quarantine.readmission import (
    count_by_rule,
    erase,
    export,
    read_corrections,
    readmit,
    revoke,
    select,
)

CHEAP = OwnRule(name="cheap", table="items", check="between", column="price", maximum=10)
SETTINGS = ValidationSettings(min_interactions=1, max_quarantined_share=1, rules=(CHEAP,))
BAD = [
    {"event_id": "a", "user_id": "u1", "item_id": "i1", "event": "wish", "timestamp": "2025-03-01T00:00:00Z"},
    {"event_id": "b", "user_id": "u1", "item_id": "i1", "event": "rating", "value": 9, "timestamp": "2025-03-02"},
    {"event_id": "c", "user_id": "", "item_id": "i2", "event": "view", "timestamp": "2025-03-03", "position": 77},
]
BAD_ITEM = {"item_id": "i9", "title": "Cup", "price": 30, "colour": "blue"}


def _door(
    tmp_path: Path, settings: ValidationSettings = SETTINGS, log: Path | None = None, /, **source: Any
) -> Scanned:
    given = TablesSource(path=tmp_path / "in", **source)
    readmitted = tmp_path / "readmitted"
    return scan_source(tmp_path, given, settings, event_log=log, readmitted=readmitted, quarantine=True)


@pytest.fixture
def summary(tmp_path: Path) -> Scanned:
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(5), *BAD))
    items = [{"item_id": f"i{i}", "title": "Tea", "price": 2, "colour": "red"} for i in range(7)]
    write(tmp_path / "in" / "items.jsonl", json_lines(*items, BAD_ITEM, "{"))
    return _door(tmp_path)


def _edit(path: Path, **changes: dict[str, Any]) -> None:
    """Change the values of the exported rows by their rule, as a person would."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["values"] |= changes[line["rules"][0]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_quarantine_has_the_row_as_it_came_and_as_it_was_understood(summary: Scanned) -> None:
    good, unread = read_rows(summary.quarantine / "items.parquet")
    assert json.loads(good["source_row"]) == BAD_ITEM
    assert json.loads(good["values"])["price"] == "30"
    assert json.loads(good["attributes"]) == {"colour": "blue"}
    assert (good["source_file"], good["source_number"], good["source_position"]) == ("items.jsonl", 8, "items.jsonl:8")
    assert (unread["source_row"], unread["rules"]) == ("{", ["row_readable"])
    assert not any(json.loads(unread["values"]).values())


def test_rows_are_chosen_by_table_and_rule(summary: Scanned) -> None:
    assert len(select(summary.quarantine)) == 5
    assert [row.values["event_id"] for row in select(summary.quarantine, "interactions")] == ["a", "b", "c"]
    (row,) = select(summary.quarantine, "interactions", ("value_in_range", "no_such_rule"))
    assert (row.rules, row.source_number) == (("value_in_range",), 7)
    assert {"table": "items", "rule": "cheap", "rows": 1} in count_by_rule(select(summary.quarantine))


def test_corrected_rows_come_back_clean(tmp_path: Path, summary: Scanned) -> None:
    file = tmp_path / "rows.jsonl"
    chosen = [row for row in select(summary.quarantine) if row.rules != ("row_readable",)]
    export(chosen, file)
    _edit(
        file,
        event_in_set={"event": "view"},
        value_in_range={"value": 4},
        user_id_required={"user_id": "u3"},
        cheap={"price": "3.5"},
    )
    let_in = readmit(read_corrections(file), tmp_path / "readmitted")
    assert let_in.rows == {"items": 1, "interactions": 3}
    after = _door(tmp_path)
    for table, more in (("interactions", 3), ("items", 1)):
        was, now = summary.tables[table], after.tables[table]
        assert (now.rows_in, now.rows_clean) == (was.rows_in + more, was.rows_clean + more)
        assert (now.rows_quarantined, now.duplicates) == (was.rows_quarantined, 0)
    clean = {row["event_id"]: row for row in after.clean_rows["interactions"]}
    assert (clean["a"]["event"], clean["b"]["value"]) == ("view", 4.0)
    assert (clean["c"]["user_id"], clean["c"]["position"]) == ("u3", 77)
    (item,) = (row for row in after.clean_rows["items"] if row["item_id"] == "i9")
    assert (item["price"], item["colour"]) == (3.5, "blue")


def test_letting_the_same_rows_in_twice_changes_nothing(tmp_path: Path, summary: Scanned) -> None:
    rows = select(summary.quarantine, "interactions")
    first = readmit(rows, tmp_path / "readmitted")
    assert readmit(rows, tmp_path / "readmitted") == first
    assert len(list((tmp_path / "readmitted").iterdir())) == 1
    # As they are, they break the same rules again.
    assert _door(tmp_path).tables["interactions"].rows_quarantined == 6


def test_a_row_that_the_source_has_clean_by_now_is_a_copy(tmp_path: Path, summary: Scanned) -> None:
    strict = SETTINGS.model_copy(update={"earliest": SETTINGS.earliest.replace(year=2025, month=1, day=3)})
    before = _door(tmp_path, strict)
    assert before.tables["interactions"].rules["timestamp_in_range"] == 2
    readmit(select(before.quarantine, "interactions", ("timestamp_in_range",)), tmp_path / "readmitted")
    after = _door(tmp_path)  # the rule was what was wrong
    assert after.tables["interactions"].rows_clean == summary.tables["interactions"].rows_clean
    assert after.tables["interactions"].duplicates == 2
    assert after.tables["interactions"].rules["exact_duplicate"] == 2


def test_a_row_that_the_source_gives_elsewhere_under_another_id_is_a_copy(tmp_path: Path) -> None:
    rows = [*events(5), BAD[2]]
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*rows))
    export(select(_door(tmp_path).quarantine), tmp_path / "rows.jsonl")
    _edit(tmp_path / "rows.jsonl", user_id_required={"user_id": "u3"})
    readmit(read_corrections(tmp_path / "rows.jsonl"), tmp_path / "readmitted")
    assert _door(tmp_path).clean("interactions", "event_id")[5:] == ["c"]
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*rows, {**BAD[2], "event_id": "z", "user_id": "u3"}))
    after = _door(tmp_path)
    assert after.clean("interactions", "event_id")[5:] == ["z"]
    assert after.tables["interactions"].duplicates == 1


def test_rows_of_own_names_come_back_as_the_settings_say_by_then(tmp_path: Path) -> None:
    """Marks from 1, the best, to 5: a value is mapped once, and scaled once, whether before or after quarantine."""
    lines = [
        {"user_id": f"u{n}", "item_id": "i", "event": event, "value": value, "timestamp": time}
        for n, (event, value, time) in enumerate(
            [("rating", "1", "2025-01-02"), ("rating", "1", "soon"), ("pv", None, "2025-01-02"), ("off", None, "soon")]
        )
    ]
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*lines))
    marks: dict[str, dict[str, str]] = {"value": {"1": "5", "2": "4", "4": "2", "5": "1"}}

    def pass_door(**events: str) -> dict[str, tuple[str, float | None]]:
        values = {"interactions": {**marks, **({"event": events} if events else {})}}
        rows = _door(tmp_path, values=values).clean_rows["interactions"]
        return {row["user_id"]: (row["event"], row["value"]) for row in rows}

    assert pass_door() == {"u0": ("rating", 5.0)}
    rows = select(tmp_path / "clean" / "quarantine", "interactions")
    assert [(row.values["event"], row.values["value"]) for row in rows] == [
        ("rating", "1"), ("pv", None), ("off", None)
    ]  # fmt: skip
    export(rows, tmp_path / "rows.jsonl")
    _edit(
        tmp_path / "rows.jsonl",
        timestamp_parses={"timestamp": "2025-01-03"},
        event_in_set={"timestamp": "2025-01-02"},
    )
    readmit(read_corrections(tmp_path / "rows.jsonl"), tmp_path / "readmitted")
    assert pass_door(pv="view", off="") == {"u0": ("rating", 5.0), "u1": ("rating", 5.0), "u2": ("view", None)}


def test_a_rating_of_the_service_is_not_scaled_when_it_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(5)))
    row = QuarantinedRow(
        "interactions",
        ("item_id_required",),
        "events",
        1,
        {"event_id": "e", "user_id": "u", "item_id": "i1", "event": "rating", "value": "4", "timestamp": "2025-03-01"},
        {},
    )
    readmit([row], tmp_path / "readmitted")
    scale = SETTINGS.cleaning.model_copy(update={"rating_scale": (0.0, 10.0)})
    summary = _door(tmp_path, SETTINGS.model_copy(update={"cleaning": scale}))
    assert [one["value"] for one in summary.clean_rows["interactions"] if one["user_id"] == "u"] == [4.0]


GOOD_LINE: dict[str, Any] = {"table": "items", "rules": [], "position": "items.jsonl:8", "values": {"item_id": "i9"}}


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{oops", r"line='\{oops', expected a JSON object.*\(rows.jsonl:2\)"),
        ("[1]", "expected a JSON object"),
        (
            {**GOOD_LINE, "values": {"item_id": "i9 \ud83d"}},
            r"line='.*expected a JSON object, but .*surrogates not allowed",
        ),
        ({**GOOD_LINE, "table": "shops"}, "table='shops', expected one of users, items"),
        ({**GOOD_LINE, "values": {"item": "i9"}}, r"column='item', expected one of item_id, .*\(rows.jsonl:2\)"),
        ({**GOOD_LINE, "values": "i9"}, "values='i9'"),
        ({**GOOD_LINE, "position": "8"}, "position='8'"),
        ({**GOOD_LINE, "position": "items.jsonl:²"}, "position='items.jsonl:²'"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, line: Any, match: str) -> None:
    write(tmp_path / "rows.jsonl", json_lines(GOOD_LINE, line))
    with pytest.raises(ReadmissionError, match=match):
        read_corrections(tmp_path / "rows.jsonl")


def test_without_a_quarantine_there_is_nothing_to_choose_from(tmp_path: Path) -> None:
    with pytest.raises(ReadmissionError, match="folder="):
        select(tmp_path / "quarantine")
    (tmp_path / "quarantine").mkdir()
    write(tmp_path / "quarantine" / "users.parquet", b"not Parquet")
    with pytest.raises(ReadmissionError, match=r"users\.parquet"):
        select(tmp_path / "quarantine")
    with pytest.raises(ReadmissionError, match="no-such-file"):
        read_corrections(tmp_path / "no-such-file.jsonl")


def test_what_was_read_once_is_not_mapped_and_scaled_again(tmp_path: Path) -> None:
    """Marks from 6 (lowest) to 1, and events of the service's log, which are in the contract's terms already."""
    marks = {str(mark): str(7 - mark) for mark in range(1, 7)}
    values = {"interactions": {"value": marks, "event": {"view": "cart", "buy": "view"}}}
    settings = ValidationSettings.model_validate(
        {"min_interactions": 1, "max_quarantined_share": 1, "cleaning": {"rating_scale": (1, 6)}}
    )
    own: dict[str, Any] = {"item_id": "gone", "timestamp": "2025-03-01", "user_id": "u1"}
    rows = [{**own, "event": "rating", "value": 2}, {**own, "event": "buy", "value": ""}]
    write(tmp_path / "in" / "interactions.csv", csv_bytes([*rows, {**rows[0], "item_id": "i1"}]))
    write(tmp_path / "in" / "items.csv", csv_bytes([{"item_id": "i1"}]))
    moment = datetime(2025, 4, 1, tzinfo=UTC)
    with closing(EventLog(tmp_path / "events.wal")) as log:
        log.append(
            [Interaction("s1", "u2", "gone", "rating", moment, 4.0), Interaction("s2", "u2", "gone", "view", moment)]
        )

    def door() -> Scanned:
        return _door(tmp_path, settings, tmp_path / "events.wal", values=values)

    before = door()
    assert before.tables["interactions"].rules == {"item_id_known": 4}
    export(select(before.quarantine), tmp_path / "rows.jsonl")
    _edit(tmp_path / "rows.jsonl", item_id_known={"item_id": "i1", "timestamp": "2025-05-01"})
    readmit(read_corrections(tmp_path / "rows.jsonl"), tmp_path / "readmitted")
    clean = [row for row in door().clean_rows["interactions"] if row["timestamp"].month == 5]
    assert sorted((row["user_id"], row["event"], round(row["value"] or 0, 6)) for row in clean) == [
        ("u1", "rating", 4.2),  # the mark 2 is 5 of 1 to 6
        ("u1", "view", 0),
        ("u2", "rating", 4.0),
        ("u2", "view", 0),
    ]


def _bad_and_corrected(tmp_path: Path, ids: bool) -> list[dict[str, Any]]:
    """A source with one bad rating, which a person corrects to 4 and lets in; with ids of events or without."""
    bad = {"user_id": "u9", "item_id": "i1", "event": "rating", "value": 9, "timestamp": "2025-03-02T00:00:00Z"}
    rows = [{**row, "event": "view", "value": None} for row in events(5)]
    rows = [*rows, {"event_id": "b", **bad}]
    if not ids:
        rows = [{name: value for name, value in row.items() if name != "event_id"} for row in rows]
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*rows))
    summary = _door(tmp_path)
    export(select(summary.quarantine, "interactions"), tmp_path / "rows.jsonl")
    _edit(tmp_path / "rows.jsonl", value_in_range={"value": "4"})
    readmit(read_corrections(tmp_path / "rows.jsonl"), tmp_path / "readmitted")
    assert _ratings(_door(tmp_path)) == [4.0]
    return rows


def _ratings(summary: Scanned) -> list[float]:
    rows = summary.clean_rows["interactions"]
    return [row["value"] for row in rows if row["event"] == "rating"]


@pytest.mark.parametrize(
    ("ids", "changed", "shift"),
    [
        (True, {"value": 3, "user_id": "u1"}, 1),
        (False, {"value": 5, "timestamp": "2025-03-04"}, 0),
        (False, {"value": 3}, 1),
        (False, {"value": 3, "user_id": "u1"}, 1),
    ],
)
def test_a_correction_of_the_source_supersedes_a_readmitted_row(
    tmp_path: Path, ids: bool, changed: dict[str, Any], shift: int
) -> None:
    """Known by its id, or by where it stands, or by what it says; not where the row moved and says something else."""
    rows = _bad_and_corrected(tmp_path, ids)
    moved = {**events(1)[0], "event_id": "new", "user_id": "u7", "event": "view", "value": None}
    if not ids:
        moved.pop("event_id")
    rows = [*[moved] * shift, *rows[:-1], {**rows[-1], **changed}]
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*rows))
    summary = _door(tmp_path)
    if shift and not ids and len(changed) > 1:
        assert _ratings(summary) == [changed["value"], 4.0]
        return
    assert _ratings(summary) == [changed["value"]]
    counts = summary.tables["interactions"]
    assert (counts.rows_quarantined, counts.duplicates) == (0, 1)


def test_another_row_at_the_place_of_a_readmitted_one_supersedes_nothing(tmp_path: Path) -> None:
    rows = _bad_and_corrected(tmp_path, ids=False)
    other = {"user_id": "u9", "item_id": "i2", "event": "rating", "value": 2, "timestamp": "2025-03-05T00:00:00Z"}
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*rows[:-1], other))
    assert sorted(_ratings(_door(tmp_path))) == [2.0, 4.0]


def test_a_corrected_item_of_the_source_supersedes_the_readmitted_one(tmp_path: Path, summary: Scanned) -> None:
    export(select(summary.quarantine, "items", ("cheap",)), tmp_path / "rows.jsonl")
    _edit(tmp_path / "rows.jsonl", cheap={"price": "3"})
    readmit(read_corrections(tmp_path / "rows.jsonl"), tmp_path / "readmitted")
    items = [{"item_id": f"i{i}", "title": "Tea", "price": 2, "colour": "red"} for i in range(7)]
    write(tmp_path / "in" / "items.jsonl", json_lines(*items, {**BAD_ITEM, "price": 7}))
    after = _door(tmp_path)
    (item,) = (row for row in after.clean_rows["items"] if row["item_id"] == "i9")
    assert item["price"] == 7
    assert (after.tables["items"].rows_quarantined, after.tables["items"].duplicates) == (0, 1)


def test_a_second_correction_takes_the_place_of_the_first(tmp_path: Path) -> None:
    _bad_and_corrected(tmp_path, ids=False)
    _edit(tmp_path / "rows.jsonl", value_in_range={"value": "2"})
    readmit(read_corrections(tmp_path / "rows.jsonl"), tmp_path / "readmitted")
    assert _ratings(_door(tmp_path)) == [2.0]
    assert len(list((tmp_path / "readmitted").iterdir())) == 1


def test_readmission_is_revoked_by_rows_or_as_a_whole(tmp_path: Path, summary: Scanned) -> None:
    rows, folder = select(summary.quarantine, "interactions"), tmp_path / "readmitted"
    readmit(rows, folder)
    readmit(select(summary.quarantine, "items", ("cheap",)), folder)
    assert revoke(folder, rows[:1]) == 1
    assert revoke(folder, rows[:1]) == 0
    assert _door(tmp_path).tables["interactions"].rows_in == summary.tables["interactions"].rows_in + 2
    assert revoke(folder, table="items") == 1
    assert revoke(folder) == 2
    assert list(folder.iterdir()) == []
    assert _door(tmp_path).tables == summary.tables


def test_rows_of_the_forgotten_are_not_let_in_and_those_that_were_can_be_erased(tmp_path: Path) -> None:
    rows = [
        QuarantinedRow("interactions", (), "a.csv", n, {"event_id": f"e{n}", "user_id": user, "item_id": "i1"}, {})
        for n, user in enumerate(["u1", " gone ", "u2"])
    ]
    nowhere = readmit(rows[1:2], tmp_path / "none", lambda user: canonical_id(user) == "gone")
    assert (nowhere.rows, nowhere.files, nowhere.forgotten) == ({}, (), 1)
    some = readmit(rows, tmp_path / "some", lambda user: canonical_id(user) == "gone")
    assert (some.rows, some.forgotten) == ({"interactions": 2}, 1)
    readmit(rows, tmp_path / "all")
    assert erase(tmp_path / "all", lambda user: canonical_id(user) == "gone") == 1
    assert erase(tmp_path / "all", lambda user: canonical_id(user) == "gone") == 0
    assert [path.name for path in (tmp_path / "all").iterdir()] == list(some.files)
    assert erase(tmp_path / "missing", lambda _: True) == 0


def test_rows_are_let_in_without_personal_data(tmp_path: Path) -> None:
    text = {"user_id": "jo@x.com", "item_id": "i1", "rating": "4", "text": "Mail jo@x.com", "timestamp": "soon"}
    rows = [
        QuarantinedRow("feedback", (), "a.csv", 1, text, {}),
        QuarantinedRow("users", (), "b.csv", 2, {"user_id": "u1"}, {"name": "Ada King", "city": "Oslo"}),
    ]
    let_in = readmit(rows, tmp_path)
    held = [row for file in let_in.files for row in read_rows(tmp_path / file)]
    assert [json.loads(row["attributes"] or "{}") for row in held] == [{"name": "<PERSON>", "city": "Oslo"}, {}]
    assert json.loads(held[1]["values"]) == {**text, "text": "Mail <EMAIL>"}  # an id stays an id
    off = CleaningSettings(mask_pii=())
    assert json.loads(read_rows(tmp_path / readmit(rows[:1], tmp_path, cleaning=off).files[0])[0]["values"]) == text
