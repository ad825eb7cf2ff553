"""Rows of the forgotten reach no raw folder, from whatever kind of source, and are counted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.logs.events import EventLog, Interaction
from core.quarantine.rows import QuarantinedRow
from core.settings.source import Amazon2014Source, RecboleSource, SimulatedSource, Source, SqlSource, TablesSource
from core.tombstones import bury, lift, read_tombstones
from tests.integration.byte_search import find
from tests.unit.validation.source_files import csv_bytes, events, json_lines, read_parts, review, write
from validation.quarantine.readmission import readmit
from validation.raw.forgotten import names_forgotten
from validation.sources.ingest import ingest, source_fingerprint

PERSON = "person-17850"


def rows_of(person: str, n: int = 12) -> list[dict[str, str]]:
    """Events, every fourth of the person."""
    return [{**row, "user_id": person if place % 4 == 0 else row["user_id"]} for place, row in enumerate(events(n))]


def csv(folder: Path) -> Source:
    write(folder / "interactions.csv", csv_bytes(rows_of(PERSON)))
    write(folder / "users.csv", csv_bytes([{"user_id": PERSON, "job": "spy"}, {"user_id": "u1", "job": "cook"}]))
    return TablesSource(path=folder)


def delimited_without_the_contracts_names(folder: Path) -> Source:
    lines = ["who;what;when", f'"{PERSON}";i1;2025-01-01', "u1;i2;2025-01-02", f" {PERSON}\t;i3;2025-01-03"]
    # A row with a field too many and one that is cut: neither can be read.
    lines += [f"{PERSON};i3;2025-01-03;more", "u2;i3;2025-01-03;more", f"i3;{PERSON}"]
    path = write(folder / "log.csv", "\n".join(lines).encode() + b"\n")
    columns = {"interactions": {"user_id": "who", "item_id": "what", "timestamp": "when"}}
    return TablesSource(path=path, delimiter=";", columns=columns)


def lines_of_json(folder: Path) -> Source:
    torn = f'{{"user_id": "{PERSON}", "item_id": '
    wrapped = {"user_id": {"$oid": PERSON}, "item_id": "i1", "event": "view", "timestamp": "2025-01-01"}
    write(folder / "interactions.jsonl", json_lines(*rows_of(PERSON), wrapped, torn))
    return TablesSource(path=folder)


def parquet(folder: Path) -> Source:
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows_of(PERSON)), folder / "interactions.parquet")
    return TablesSource(path=folder)


def sql(folder: Path) -> Source:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE log (user_id TEXT, item_id TEXT, event TEXT, timestamp TEXT)")
        rows = [(row["user_id"], row["item_id"], "view", row["timestamp"]) for row in rows_of(PERSON)]
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
    return SqlSource(url=f"sqlite:///{folder / 'shop.db'}", queries={"interactions": "SELECT * FROM log"})


def reviews(folder: Path) -> Source:
    lines = [review(reviewerID=PERSON if n % 3 == 0 else f"A{n}", asin=f"B{n}") for n in range(9)]
    return Amazon2014Source(path=write(folder / "reviews_Toys.json", json_lines(*lines)))


def atomic_files(folder: Path) -> Source:
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    lines = [f"{PERSON if n % 3 == 0 else 'u1'}\ti{n}\t4\t{1393545600 + n}" for n in range(9)]
    write(folder / "toys.inter", "\n".join([header, *lines]).encode())
    return RecboleSource(path=folder)


SOURCES = (csv, delimited_without_the_contracts_names, lines_of_json, parquet, sql, reviews, atomic_files)


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_no_row_of_theirs_is_written_and_all_others_are(make, tmp_path: Path) -> None:
    source, forgotten = make(tmp_path / "in"), tmp_path / "forgotten.json"
    whole = ingest(source, tmp_path / "whole", forgotten=forgotten)
    assert find(PERSON, whole.folder)
    bury(forgotten, PERSON)
    left = ingest(source, tmp_path / "left", forgotten=forgotten)
    assert not find(PERSON, left.folder)
    assert whole.forgotten == {}
    assert sum(left.forgotten.values()) >= 3
    for table, count in whole.rows.items():
        assert left.rows[table] + left.forgotten.get(table, 0) == count, table
    before, after = read_parts(whole.folder, whole.parts), read_parts(left.folder, left.parts)
    for name, rows in before.items():
        kept = [row for row in rows if PERSON not in repr(row)]
        assert [row["source_number"] for row in after[name]] == [row["source_number"] for row in kept], name


def test_the_log_and_readmitted_rows_are_told_apart_too(tmp_path: Path) -> None:
    source, log, forgotten = csv(tmp_path / "in"), tmp_path / "events.sqlite", tmp_path / "forgotten.json"
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    EventLog(log, above=0).append(
        [Interaction(f"x{n}", user, "i1", "view", moment) for n, user in enumerate([PERSON, "u1"])]
    )
    values = {"event_id": "r", "user_id": f" {PERSON}", "item_id": "i1", "event": "view"}
    values |= {"timestamp": "2025-03-01"}
    readmit([QuarantinedRow("interactions", (), "a.csv", 3, values, {})], tmp_path / "readmitted")
    bury(forgotten, PERSON)
    raw = ingest(source, tmp_path / "raw", log, tmp_path / "readmitted", forgotten)
    assert not find(PERSON, raw.folder)
    assert raw.forgotten == {"users": 1, "interactions": 5}
    assert [row["user_id"] for row in read_parts(raw.folder, raw.parts)["interactions"]][-1] == "u1"
    assert raw.log_sequence == 2


def test_what_was_erased_at_the_end_of_the_log_is_known_up_to_there(tmp_path: Path) -> None:
    source, log = csv(tmp_path / "in"), EventLog(tmp_path / "events.sqlite", above=0)
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    log.append([Interaction(f"x{n}", user, "i1", "view", moment) for n, user in enumerate(["u1", PERSON])])
    log.erase(lambda user: user == PERSON)
    assert ingest(source, tmp_path / "raw", log.path).log_sequence == 2


def test_forgetting_and_lifting_make_new_keys(tmp_path: Path) -> None:
    source, forgotten = SimulatedSource(), tmp_path / "forgotten.json"
    seen = [source_fingerprint(source, forgotten=forgotten)]
    for change in (bury, lift, bury):
        change(forgotten, PERSON)
        seen.append(source_fingerprint(source, forgotten=forgotten))
    assert len(set(seen)) == len(seen)
    assert seen[0] == source_fingerprint(source)


def test_half_an_escaped_emoji_in_a_line_stops_no_ingest(tmp_path: Path) -> None:
    lines = [b"user_id,item_id,event,timestamp", b'u1,"so nice \\ud83d"', f'{PERSON},"so nice \\ud83d"'.encode()]
    write(tmp_path / "in" / "interactions.csv", b"\n".join(lines) + b"\n")
    bury(tmp_path / "forgotten.json", PERSON)
    raw = ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw", forgotten=tmp_path / "forgotten.json")
    assert sum(raw.forgotten.values()) == 1
    assert raw.rows["interactions"] == 1
    assert not find(PERSON, raw.folder)


def test_an_id_that_the_settings_map_is_told_as_it_stands_and_as_it_is_read(tmp_path: Path) -> None:
    rows = [{**row, "user_id": user} for row, user in zip(events(4), ["old", "u1", "new", "u2"], strict=True)]
    write(tmp_path / "in" / "interactions.csv", csv_bytes(rows))
    source = TablesSource(path=tmp_path / "in", values={"interactions": {"user_id": {"old": "new"}}})
    bury(tmp_path / "forgotten.json", "new")
    raw = ingest(source, tmp_path / "raw", forgotten=tmp_path / "forgotten.json")
    assert raw.forgotten == {"interactions": 2}


def test_a_short_id_takes_no_other_rows_along(tmp_path: Path) -> None:
    rows = [
        {**row, "user_id": user, "item_id": "7", "event_id": f"7{n}"}
        for n, (row, user) in enumerate(zip(events(4), ["7", "17", "7.0", "77"], strict=True))
    ]
    write(tmp_path / "in" / "interactions.csv", csv_bytes(rows))
    bury(tmp_path / "forgotten.json", "7")
    raw = ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw", forgotten=tmp_path / "forgotten.json")
    assert [row["user_id"] for row in read_parts(raw.folder, raw.parts)["interactions"]] == ["17", "77"]


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ('x,"person-17850",torn,more', True),
        ("x;person-17850;y", True),
        ('{"user_id": "person-17850", "item', True),
        ("{'user': 'person-17850'}, ", True),
        ("a person-17850 b", True),
        ("x,person-178500,y", False),
        ("xperson-17850", False),
        ("", False),
        ('x,"\\ud83d"', False),
        ('x,"nice \\ud83d","person-17850"', True),
        ('x,"nice \\ud83d","person\\u002d17850"', True),
    ],
)
def test_a_row_that_cannot_be_read_is_theirs_if_one_of_its_values_is_the_id(text, is_named, tmp_path: Path) -> None:
    bury(tmp_path / "forgotten.json", PERSON)
    assert names_forgotten(text, read_tombstones(tmp_path / "forgotten.json")) is is_named
