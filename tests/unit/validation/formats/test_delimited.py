"""Delimited text as shops export it: quotes out of place, escapes, headers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from core.settings.source import TablesSource
from tests.unit.validation.source_files import csv_bytes, events, read_raw, write
from validation.errors import SourceError
from validation.formats import files
from validation.formats.delimited import read_header
from validation.formats.quoted import Form, Lines, parse_rows
from validation.sources import tables

HEADER = "user_id,item_id,text,timestamp\n"


def _read(folder: Path, text: str, **settings: Any) -> list[dict[str, Any]]:
    write(folder / "in" / "feedback.csv", text.encode())
    write(folder / "in" / "interactions.csv", csv_bytes(events(1)))
    (folder / "raw").mkdir(exist_ok=True)
    return read_raw(tables, TablesSource(path=folder / "in", **settings), folder / "raw")["feedback"]


def _lines(n: int, **odd: str) -> str:
    return "".join(f"u{n},i{n},{odd.get(f'line_{n}', 'ok')},2025-01-01\n" for n in range(n))


def test_a_quote_that_is_never_closed_costs_its_own_line(tmp_path: Path) -> None:
    rows = _read(tmp_path, HEADER + _lines(9000, line_3='"27"" screen', line_4500='"fine, thanks"'))
    assert [row["source_number"] for row in rows] == list(range(2, 9002))
    (bad,) = [row for row in rows if row["source_error"]]
    assert bad["source_text"] == 'u3,i3,"27"" screen,2025-01-01'
    assert bad["source_error"] == "not delimited text: a quote is not closed in its row"
    assert rows[4500]["text"] == "fine, thanks"


@pytest.mark.parametrize("block_bytes", [100, 8 << 20])
def test_a_quote_near_the_end_of_a_file_costs_its_own_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    rows = _read(tmp_path, HEADER + _lines(20, line_15='"nice'))
    assert [bool(row["source_error"]) for row in rows] == [n == 15 for n in range(20)]


def test_a_file_that_ends_within_quotes_is_truncated(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"u9,i9.*cut off"):
        _read(tmp_path, HEADER + _lines(5) + 'u9,i9,"the first line\nand of the second a pa')
    with pytest.raises(SourceError, match=r"a part', cut off"):
        _read(tmp_path, HEADER + _lines(5, line_2='"nice') + "u9,i9,a part")


def test_rows_between_two_quotes_are_no_field(tmp_path: Path) -> None:
    """As many columns as there should be, and rows in one of them; a text of several lines stays one."""
    text = HEADER + _lines(8, line_2='"nice', line_6='nice"') + 'u8,i8,"a\nb, c, d, e\nf, g, h, i\nj",2025-01-01\n'
    rows = _read(tmp_path, text)
    assert [row["source_number"] for row in rows] == [*range(2, 10), 10]
    assert [row["source_number"] for row in rows if row["source_error"]] == [4]
    assert rows[6]["text"] == 'nice"'
    assert rows[8]["text"] == "a\nb, c, d, e\nf, g, h, i\nj"


def test_a_text_of_many_lines_that_its_last_line_closes_is_one_field() -> None:
    said = "the first line\nsecond, of it\nthird, of it\nfourth, of it\nfifth, of it"
    text = f'u1,"{said}"\nu2,ok\n'
    rows = parse_rows(Lines(1, text.encode(), "utf-8"), Form(",", csv.QUOTE_MINIMAL, 2))
    assert (rows.fields, rows.errors) == ([["u1", said], ["u2", "ok"]], {})


def test_a_row_of_another_length_that_holds_rows(tmp_path: Path) -> None:
    lines = ['u1,"i1,x,2025-01-01', "u2,i2,y,2025-01-01", 'u3,i3,z",2025-01-01', "u4,i4,w,2025-01-01"]
    rows = _read(tmp_path, HEADER + "\n".join(lines) + "\n")
    assert [row["user_id"] for row in rows] == [None, "u2", "u3", "u4"]


def test_another_reader_of_csv_in_the_process_changes_nothing(tmp_path: Path) -> None:
    limit = csv.field_size_limit(1 << 30)
    try:
        rows = _read(tmp_path, HEADER + _lines(9000, line_3='"nice', line_8999='"nice"'))
    finally:
        csv.field_size_limit(limit)
    assert sum(bool(row["source_error"]) for row in rows) == 1


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"he said \"hi\", ok"', 'he said "hi", ok'),
        ('"he said \\"hi\\",\nand left"', 'he said "hi",\nand left'),
        (r'"a 27\", flat"', 'a 27", flat'),
        (r'"C:\"', "C:\\"),
    ],
)
@pytest.mark.parametrize("block_bytes", [30, 8 << 20])
def test_quotes_after_a_backslash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, text: str, block_bytes: int
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    rows = _read(tmp_path, HEADER + _lines(6, line_2=written, line_5='"fine, thanks"'))
    assert [row["text"] for row in rows] == ["ok", "ok", text, "ok", "ok", "fine, thanks"]
    assert not any(row["source_error"] for row in rows)


def test_the_separator_that_excel_names_first_is_no_header(tmp_path: Path) -> None:
    rows = _read(tmp_path, "sep=,\r\n" + HEADER + _lines(2))
    assert [(row["user_id"], row["source_number"]) for row in rows] == [("u0", 3), ("u1", 4)]


def test_a_name_with_a_line_end(tmp_path: Path) -> None:
    text = '"user_id","item\n id",text,timestamp\nu1,i1,"two\nlines",2025-01-01\n'
    (row,) = _read(tmp_path, text, columns={"feedback": {"item_id": "item id"}})
    assert (row["user_id"], row["item_id"], row["text"], row["source_number"]) == ("u1", "i1", "two\nlines", 3)


def test_a_header_of_one_open_quote_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "f.csv", b'user_id,"item_id\nu1,i1\n')
    assert read_header(tmp_path / "f.csv", ",") == ["user_id", "item_id"]


@pytest.mark.parametrize("text", ["ok", '"o,k"'])
def test_rows_that_all_end_in_a_delimiter(tmp_path: Path, text: str) -> None:
    body = "".join(f"u{n},i{n},{text},2025-01-01,\n" for n in range(3))
    rows = _read(tmp_path, HEADER + body)
    assert [row["user_id"] for row in rows] == ["u0", "u1", "u2"]
    assert not any(row["source_error"] for row in rows)
    rows = _read(tmp_path, HEADER + "u9,i9,ok,2025-01-01\n" + body)
    assert [bool(row["source_error"]) for row in rows] == [False, True, True, True]


def test_a_fifth_field_of_a_later_row_is_no_end_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 60)
    rows = _read(tmp_path, HEADER + "u1,i1,ok,2025-01-01,\n" * 9 + "u1,i1,ok,2025-01-01,more\n")
    assert [row["source_error"] for row in rows] == [None] * 9 + ["5 fields, the header has 4"]


def test_names_in_another_case_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r'User_ID.*differs in case.*source\.columns\.feedback.*user_id = "User_ID"'):
        _read(tmp_path, HEADER.replace("user_id", "User_ID") + _lines(1))
