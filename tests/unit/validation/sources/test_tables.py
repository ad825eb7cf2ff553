"""Reader of kind "tables"."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.settings.source import TablesSource
from core.settings.validation import OwnRule
from tests.unit.validation.scans import LENIENT, scan_source
from tests.unit.validation.source_files import csv_bytes, events, json_lines, read_parts, read_raw, read_rows, write
from validation.errors import SourceError
from validation.formats import files
from validation.raw.writer import RawWriter
from validation.sources import tables


def _read(folder: Path, tmp_path: Path, **settings):
    return read_raw(tables, TablesSource(path=folder, **settings), tmp_path / "raw")


def test_every_format_gives_the_same_interactions(tmp_path: Path) -> None:
    rows = events(6)
    write(tmp_path / "csv" / "interactions.csv.gz", csv_bytes(rows))
    write(tmp_path / "json" / "interactions.jsonl", json_lines(*rows))
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "parquet" / "interactions.parquet")
    read = [_read(tmp_path / name, tmp_path / name)["interactions"] for name in ("csv", "json", "parquet")]
    names = ("event_id", "user_id", "item_id", "event", "value", "timestamp")
    plain = [[{name: row[name] for name in names} for row in table] for table in read]
    assert plain[0] == plain[1] == plain[2]
    assert [row["event"] for row in plain[0][:2]] == ["purchase", "rating"]
    # A row's place in its file orders events of one instant; the header of delimited text is line 1.
    assert [row["position"] for row in read[0]] == [2, 3, 4, 5, 6, 7]
    assert [row["position"] for row in read[1]] == ["1", "2", "3", "4", "5", "6"]
    assert [row["position"] for row in read[2]] == [1, 2, 3, 4, 5, 6]
    assert [row["source"]["user_id"] for row in read[0]] == [row["user_id"] for row in rows]
    assert json.loads(read[1][0]["source_text"]) == rows[0]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    row = {"user_id": 7, "item_id": "a", "timestamp": datetime(2025, 1, 2, 3, tzinfo=UTC), "value": 4.0}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "interactions.parquet")
    (read,) = _read(tmp_path, tmp_path)["interactions"]
    assert (read["user_id"], read["timestamp"], read["value"]) == ("7", datetime(2025, 1, 2, 3, tzinfo=UTC), 4.0)
    assert read["event"] == "rating"  # it has a value
    assert (read["source_file"], read["source_number"]) == ("interactions.parquet", 1)


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_parquet_in_every_unit(tmp_path: Path, unit: str, zone: str | None) -> None:
    moment = datetime(2025, 1, 2, 3, tzinfo=UTC)
    times = pa.array([int(moment.timestamp())], pa.timestamp("s", zone)).cast(pa.timestamp(unit, zone))
    table = pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": times})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "interactions.parquet")
    about = {"created_at": times, "seen_by_us": times}
    pq.write_table(pa.table({"item_id": ["i"], **about}), tmp_path / "in" / "items.parquet")
    pq.write_table(pa.table({"user_id": ["u"], "signup_at": times}), tmp_path / "in" / "users.parquet")
    rules = (OwnRule(name="none", table="items", check="in_set", column="item_id", values=("x",), max_share=1.0),)
    kept = scan_source(tmp_path, TablesSource(path=tmp_path / "in"))
    found = [
        kept.clean("interactions", "timestamp"), kept.clean("items", "created_at"), kept.clean("users", "signup_at")
    ]  # fmt: skip
    assert found == [[moment]] * 3
    settings = LENIENT.model_copy(update={"rules": rules})
    refused = scan_source(tmp_path / "2", TablesSource(path=tmp_path / "in"), settings, quarantine=True)
    (row,) = read_rows(refused.quarantine / "items.parquet")
    assert json.loads(row["source_row"])["created_at"].startswith("2025-01-02")


@pytest.mark.parametrize("odd", ["2099-01-01", "1901-01-01", "soon"])
def test_a_line_of_a_time_that_cannot_be_is_not_the_newest(tmp_path: Path, odd: str) -> None:
    lines = ["u1,a,2024-01-01,Mug,5,red", "u1,a,2024-02-01,Mug blue,6,blue", f"u1,a,{odd},TEST ITEM,9999,"]
    text = "user_id,item_id,timestamp,title,price,colour\n" + "\n".join(lines) + "\n"
    write(tmp_path / "orders.csv", text.encode())
    found = scan_source(tmp_path, TablesSource(path=tmp_path / "orders.csv"))
    assert found.clean("items", "item_id", "title", "price") == [("a", "Mug blue", 6.0)]
    assert len(found.broken()) == 1


def test_mapped_files_and_columns_and_a_default_event(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", b"who,what,at\nu1,i1,1393545600\n")
    write(tmp_path / "goods.csv", b'what,kinds,colour\ni1,"Make|Nails",red\n')
    raw = _read(
        tmp_path,
        tmp_path,
        files={"interactions": "log.csv", "items": "goods.csv"},
        columns={
            "interactions": {"user_id": "who", "item_id": "what", "timestamp": "at"},
            "items": {"item_id": "what", "category": "kinds"},
        },
        default_event="click",
    )
    (event,) = raw["interactions"]
    assert (event["user_id"], event["item_id"], event["event"]) == ("u1", "i1", "click")
    (item,) = raw["items"]
    assert (item["category"], json.loads(item["attributes"])) == ("Make > Nails", {"colour": "red"})


def test_a_mapping_to_a_missing_column_lists_what_the_file_has(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", b"user_id,item_id,when\n1,2,3\n")
    with pytest.raises(SourceError, match=r"interactions\.timestamp=at, .*which has user_id, item_id, when"):
        _read(tmp_path, tmp_path, columns={"interactions": {"timestamp": "at"}})


def test_a_missing_required_column_lists_what_the_file_has(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", b"user_id,item_id,when\n1,2,3\n")
    with pytest.raises(
        SourceError, match=r"interactions\.timestamp is required and missing.*among user_id, item_id, when"
    ):
        _read(tmp_path, tmp_path)


def test_a_mapping_of_no_contract_column_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", csv_bytes(events(1)))
    with pytest.raises(SourceError, match=r"interactions\.stars.*a column of the contract: event_id"):
        _read(tmp_path, tmp_path, columns={"interactions": {"stars": "value"}})


def test_no_interactions_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "items.csv", b"item_id\n1\n")
    with pytest.raises(SourceError, match=r"items\.csv.*expected interactions"):
        _read(tmp_path, tmp_path)


def test_two_files_of_one_table_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", csv_bytes(events(1)))
    write(tmp_path / "interactions.json", json_lines(*events(1)))
    with pytest.raises(SourceError, match=r"interactions\.csv.*interactions\.json.*one file of interactions"):
        _read(tmp_path, tmp_path)


def test_an_unknown_ending_of_a_named_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "log.xlsx", b"x")
    with pytest.raises(SourceError, match=r"file=log\.xlsx.*a name that ends in one of"):
        _read(tmp_path, tmp_path, files={"interactions": "log.xlsx"})


def test_a_named_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv.*expected a file that exists"):
        _read(tmp_path, tmp_path, files={"interactions": "gone.csv"})


def test_line_ends_inside_quotes_and_odd_rows(tmp_path: Path) -> None:
    header = b"user_id,item_id,text,timestamp\n"
    text = header + b'u1,i1,"two\nlines",2025-01-01\nu2,i2\nu3,i3,"odd"quote,2025-01-01\nu4,i4,x,2\n'
    write(tmp_path / "feedback.csv", text)
    write(tmp_path / "interactions.csv", csv_bytes(events(1)))
    rows = _read(tmp_path, tmp_path)["feedback"]
    assert rows[0]["text"] == "two\nlines"
    assert [row["source_number"] for row in rows] == [2, 4, 5, 6]
    assert [bool(row["source_error"]) for row in rows] == [False, True, True, False]
    assert rows[2]["source_text"] == 'u3,i3,"odd"quote,2025-01-01'


def test_a_quote_that_is_never_closed_is_a_truncated_file(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", csv_bytes(events(3)) + b'"e9,u1')
    with pytest.raises(SourceError, match=r'"e9,u1.*cut off'):
        _read(tmp_path, tmp_path)


def test_a_binary_file_called_csv_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", b"\xff\xfe\x00\x01\n\x00")
    with pytest.raises(SourceError, match=r"no UTF-8.*interactions\.csv:1"):
        _read(tmp_path, tmp_path)


def test_a_parquet_file_without_its_footer_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "interactions.parquet"
    pq.write_table(pa.Table.from_pylist(events(50)), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"footer: .*interactions\.parquet\).*truncated or no Parquet"):
        _read(tmp_path, tmp_path)


def test_a_damaged_row_group_is_named(tmp_path: Path) -> None:
    path = tmp_path / "interactions.parquet"
    pq.write_table(pa.Table.from_pylist(events(300)), path, row_group_size=100, compression="zstd")
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"row group=1: .*expected 3 whole row groups"):
        _read(tmp_path, tmp_path)


def test_a_parquet_file_without_rows_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(events(1)).slice(0, 0), tmp_path / "interactions.parquet")
    with pytest.raises(SourceError, match=r"rows=0 in .*interactions\.parquet"):
        _read(tmp_path, tmp_path)


def test_two_tables_read_one_file_each_by_its_own_columns(tmp_path: Path) -> None:
    write(tmp_path / "reviews.csv", b'who,place,stars,words,when\nAnn,Cafe,4,"Good, warm",5/25/2019 15:54\nBob,Cafe\n')
    shared = {"user_id": "who", "item_id": "place", "timestamp": "when"}
    settings = {
        "files": {"interactions": "reviews.csv", "feedback": "reviews.csv"},
        "columns": {
            "interactions": {**shared, "value": "stars"},
            "feedback": {**shared, "rating": "stars", "text": "words"},
        },
        "date_formats": ("%m/%d/%Y %H:%M",),
    }
    writer = RawWriter(tmp_path)
    tables.read(TablesSource(path=tmp_path, **settings), writer)
    (part,) = writer.parts
    assert set(part.tables) == {"interactions", "feedback"}
    assert writer.count_rows() == {"users": 0, "items": 0, "interactions": 2, "feedback": 1}
    raw = read_parts(tmp_path, writer.parts)
    assert [(row["event"], row["value"]) for row in raw["interactions"][:1]] == [("rating", "4")]
    assert raw["interactions"][1]["source_error"] == "2 fields, the header has 5"
    assert [(row["text"], row["timestamp"]) for row in raw["feedback"]] == [("Good, warm", "5/25/2019 15:54")]


def test_an_encoding_and_a_delimiter_of_the_settings(tmp_path: Path) -> None:
    text = "user_id;item_id;timestamp\nJosé;café;2025-01-01\n"
    for encoding in ("cp1252", "utf-16"):
        folder = tmp_path / encoding
        write(folder / "interactions.csv", text.encode(encoding))
        (row,) = _read(folder, folder, encoding=encoding, delimiter=";")["interactions"]
        assert (row["user_id"], row["item_id"], row["source_number"]) == ("José", "café", 2)


def test_an_encoding_that_python_does_not_know(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", csv_bytes(events(1)))
    with pytest.raises(SourceError, match=r"encoding=utf-9"):
        _read(tmp_path, tmp_path, encoding="utf-9")


def test_a_wrong_encoding_marks_only_the_rows_that_it_hits(tmp_path: Path) -> None:
    rows = b"user_id,item_id,timestamp\n" + b"u1,i1,1\n" + "josé,i2,2\n".encode("cp1252") + "josé,i3,3\n".encode()
    write(tmp_path / "interactions.csv", rows)
    read = _read(tmp_path, tmp_path)["interactions"]
    assert [row["source_error"] for row in read] == [None, "not UTF-8", None]
    assert read[2]["user_id"] == "josé"


def test_attributes_are_what_no_column_of_the_contract_takes(tmp_path: Path) -> None:
    write(tmp_path / "csv" / "interactions.csv", csv_bytes(events(1)))
    write(tmp_path / "csv" / "users.csv", b"user_id,Age,it's\nu1,33,\n")
    user = {"user_id": "u1", "Age": 33, "it's": "", "tags": ["a", "b"], "none": None}
    write(tmp_path / "json" / "interactions.csv", csv_bytes(events(1)))
    write(
        tmp_path / "json" / "users.jsonl", json_lines(user, '{"user_id": "u2", "Age": 1, "Age": 2}', {"user_id": "u3"})
    )
    write(tmp_path / "parquet" / "interactions.csv", csv_bytes(events(1)))
    (tmp_path / "parquet" / "raw").mkdir()
    pq.write_table(pa.Table.from_pylist([user]), tmp_path / "parquet" / "users.parquet")
    users = {name: _read(tmp_path / name, tmp_path / name / "raw")["users"] for name in ("csv", "json", "parquet")}
    assert json.loads(users["csv"][0]["attributes"]) == {"Age": "33"}
    assert json.loads(users["json"][0]["attributes"]) == {"Age": "33", "tags": "a, b"}
    assert json.loads(users["json"][1]["attributes"]) == {"Age": "2"}
    assert users["json"][2]["attributes"] is None
    assert json.loads(users["parquet"][0]["attributes"]) == {"Age": "33", "tags": "a, b"}


@pytest.mark.parametrize(
    ("category", "path"),
    [
        ("Make|Nails", "Make > Nails"),
        ("Make > Nails", "Make > Nails"),
        (["Make", "", "Nails"], "Make > Nails"),
        ([["Make", "Nails"], ["Other"]], "Make > Nails"),
        ("Nails", "Nails"),
    ],
)
def test_a_category_is_a_path_in_every_format(tmp_path: Path, category: object, path: str) -> None:
    rows = [{"item_id": "i1", "category": category}]
    for name in ("json", "parquet"):
        write(tmp_path / name / "interactions.csv", csv_bytes(events(1)))
    write(tmp_path / "json" / "items.jsonl", json_lines(*rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "parquet" / "items.parquet")
    for name in ("json", "parquet"):
        (item,) = _read(tmp_path / name, tmp_path / name / "raw")["items"]
        assert item["category"] == path, name


def test_ids_that_became_floats_are_whole_numbers_again(tmp_path: Path) -> None:
    rows = [{"user_id": 7.0, "item_id": 2**63, "timestamp": 1}, {"user_id": None, "item_id": 1, "timestamp": 1}]
    types = pa.schema([("user_id", pa.float64()), ("item_id", pa.uint64()), ("timestamp", pa.int64())])
    pq.write_table(pa.Table.from_pylist(rows, schema=types), tmp_path / "interactions.parquet")
    first, second = _read(tmp_path, tmp_path / "raw")["interactions"]
    assert (first["user_id"], first["item_id"], second["user_id"]) == ("7", str(2**63), None)


def test_column_names_that_differ_only_by_case_stay_apart(tmp_path: Path) -> None:
    write(tmp_path / "interactions.csv", b"ID,id,timestamp,\nu1,i1,2025-01-01,x\n")
    (row,) = _read(tmp_path, tmp_path, columns={"interactions": {"user_id": "ID", "item_id": "id"}})["interactions"]
    assert (row["user_id"], row["item_id"]) == ("u1", "i1")
    write(tmp_path / "json" / "interactions.jsonl", json_lines({"ID": "u1", "id": "i1", "timestamp": 5}))
    mapped = {"interactions": {"user_id": "ID", "item_id": "id"}}
    (row,) = _read(tmp_path / "json", tmp_path / "json", columns=mapped)["interactions"]
    assert (row["user_id"], row["item_id"]) == ("u1", "i1")


def test_rows_are_the_same_whichever_parser_reads_a_block(tmp_path: Path) -> None:
    """Blocks without quotes go a faster way than those with them: both give the same rows and line numbers."""
    plain = csv_bytes(events(300))
    write(tmp_path / "plain" / "interactions.csv", plain)
    quoted = b"".join(line.replace(b"e", b'"e', 1).replace(b",", b'",', 1) for line in plain.splitlines(keepends=True))
    write(tmp_path / "quoted" / "interactions.csv", plain.splitlines(keepends=True)[0] + quoted.split(b"\n", 1)[1])
    fast, slow = (_read(tmp_path / name, tmp_path / name)["interactions"] for name in ("plain", "quoted"))
    assert len(fast) == 300
    assert fast == slow


def test_a_quoted_row_goes_on_in_the_next_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 64)
    body = [b'u%d,i%d,"line one\nline two, of row %d\n",2025-01-01\n' % (n, n, n) for n in range(50)]
    body[20] = b'u20,i20,"x\xff\ny",2025-01-01\n'
    write(tmp_path / "feedback.csv", b"user_id,item_id,text,timestamp\n" + b"".join(body))
    write(tmp_path / "interactions.csv", csv_bytes(events(1)))
    rows = _read(tmp_path, tmp_path)["feedback"]
    numbers = list(accumulate((part.count(b"\n") for part in body[:-1]), initial=2))
    assert [row["source_number"] for row in rows] == numbers
    assert [row["source_error"] for row in rows] == [None] * 20 + ["not UTF-8"] + [None] * 29
    assert rows[49]["text"] == "line one\nline two, of row 49\n"


@pytest.mark.parametrize("late", [False, True])
def test_an_attribute_that_the_settings_name_wins_over_a_key_of_its_name(tmp_path: Path, late: bool) -> None:
    row = {"user_id": "u0", "Alter": "31", "age": "other"}
    lines = [{"user_id": "u1", "Alter": "30"}] * 200 + [row] if late else [row]
    write(tmp_path / "in" / "users.jsonl", json_lines(*lines))
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*events(3)))
    source = TablesSource(path=tmp_path / "in", columns={"users": {"age": "Alter"}})
    rows = read_raw(tables, source, tmp_path / "raw")["users"]
    assert json.loads(rows[-1]["attributes"]) == {"age": "31"}
