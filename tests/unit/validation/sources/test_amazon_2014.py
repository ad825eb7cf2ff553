"""Reader of kind "amazon-2014"."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from core.settings.source import Amazon2014Source
from tests.unit.validation.source_files import json_lines, read_raw, review, write
from validation.errors import SourceError
from validation.formats.files import BLOCK_BYTES
from validation.sources import amazon_2014

REVIEWS = "reviews_Things_5.json"


def _read(path: Path, tmp_path: Path):
    return read_raw(amazon_2014, Amazon2014Source(path=path), tmp_path / "raw")


@pytest.mark.parametrize("name", [REVIEWS, f"{REVIEWS}.gz"])
def test_a_review_becomes_a_rating_and_a_feedback_row(tmp_path: Path, name: str) -> None:
    rows = [review(), review(reviewerID="A2", overall=2.0, summary="", reviewText="Hum")]
    write(tmp_path / "in" / name, json_lines(*rows))
    raw = _read(tmp_path / "in", tmp_path)

    first, second = raw["interactions"]
    assert (first["user_id"], first["item_id"], first["event"], first["value"]) == ("A1", "B1", "rating", "5.0")
    assert (first["timestamp"], first["position"], second["position"]) == ("1393545600", 1, 2)
    assert [row["text"] for row in raw["feedback"]] == ["Fine. Warm tone.Easy to tune", "Hum"]
    assert (first["source_file"], first["source_number"]) == (name, 1)
    assert json.loads(first["source_text"]) == rows[0]
    assert raw["items"] == raw["users"] == []


def test_reviews_without_times_are_in_the_order_of_their_file_where_the_settings_say_so(tmp_path: Path) -> None:
    rows = [{key: value for key, value in review().items() if key != "unixReviewTime"}] * 2
    path = write(tmp_path / REVIEWS, json_lines(*rows))

    def times(no_time: str) -> list[list[str]]:
        source = Amazon2014Source.model_validate({"path": path, "no_time": no_time})
        raw = read_raw(amazon_2014, source, tmp_path / no_time)
        return [[str(row["timestamp"])[:19] for row in raw[table]] for table in ("interactions", "feedback")]

    assert times("file_order") == [["2000-01-01 00:00:01", "2000-01-01 00:00:02"]] * 2
    assert times("refuse") == [["None", "None"]] * 2
    path.write_bytes(json_lines(review(), *rows))
    assert times("file_order") == [["1393545600", "None", "None"]] * 2


def test_a_whole_file_path_and_python_literal_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / REVIEWS, json_lines(review()))
    meta = "{'asin': 'B1', 'title': 'Strings', 'price': 4.5, 'categories': [['Music', 'Strings'], ['Other']]}"
    write(folder / "meta_Things.json.gz", json_lines(meta, {"asin": "B2", "brand": "Nut"}))
    items = _read(folder, tmp_path)["items"]
    assert [item["item_id"] for item in items] == ["B1", "B2"]
    assert (items[0]["category"], items[0]["price"], items[1]["brand"]) == ("Music > Strings", "4.5", "Nut")

    assert _read(folder / REVIEWS, tmp_path / "alone")["items"] == []


def test_a_bad_line_in_the_middle_is_a_row_not_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / REVIEWS, json_lines(review(), '{"reviewerID": "A2", "asin"', "[1]", review(asin="B2")))
    rows = _read(path, tmp_path)["interactions"]
    assert [row["source_error"] is None for row in rows] == [True, False, False, True]
    assert rows[1]["source_text"] == '{"reviewerID": "A2", "asin"'
    assert (rows[1]["source_file"], rows[1]["source_number"], rows[1]["source"]) == (REVIEWS, 2, None)
    assert rows[1]["source_error"].startswith("not JSON: Expecting")
    assert "not an object but list" in rows[2]["source_error"]


def test_an_unreadable_line_counts_once_though_a_line_gives_two_rows(tmp_path: Path) -> None:
    path = write(tmp_path / REVIEWS, json_lines(review(), "{", review(asin="B2")))
    raw = _read(path, tmp_path)
    assert [len(raw["interactions"]), len(raw["feedback"])] == [3, 2]


def test_a_line_longer_than_a_block_is_read_whole(tmp_path: Path) -> None:
    long = review(reviewText="word " * (BLOCK_BYTES // 4))
    path = write(tmp_path / f"{REVIEWS}.gz", json_lines(review(), long, review(asin="B2")))
    rows = _read(path, tmp_path)["feedback"]
    assert [row["item_id"] for row in rows] == ["B1", "B1", "B2"]
    assert [row["source_number"] for row in rows] == [1, 2, 3]
    assert len(rows[1]["text"]) > BLOCK_BYTES


def test_what_only_python_takes_for_json_is_read_too(tmp_path: Path) -> None:
    path = write(tmp_path / REVIEWS, b'{"reviewerID": "A1", "asin": "B1", "summary": "odd \\ud800", "overall": NaN}\n')
    (row,) = _read(path, tmp_path)["interactions"]
    assert (row["user_id"], row["value"], row["source_error"]) == ("A1", None, None)


def test_bytes_that_are_no_utf8_are_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / REVIEWS, json_lines(review()) + b'{"asin": "\xff"}\n' + json_lines(review()))
    rows = _read(path, tmp_path)["interactions"]
    assert "not UTF-8" in rows[1]["source_error"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere.*expected a folder that exists"):
        _read(tmp_path / "nowhere", tmp_path)


def test_a_folder_without_reviews_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path / "in" / "notes.txt", b"x")
    with pytest.raises(SourceError, match=r"notes\.txt.*expected one reviews_"):
        _read(tmp_path / "in", tmp_path)


def test_two_review_files_are_too_many(tmp_path: Path) -> None:
    for name in ("reviews_A.json", "reviews_B.json"):
        write(tmp_path / "in" / name, json_lines(review()))
    with pytest.raises(SourceError, match=r"reviews_A\.json.*reviews_B\.json"):
        _read(tmp_path / "in", tmp_path)


@pytest.mark.parametrize("name", [REVIEWS, f"{REVIEWS}.gz"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, b"")
    with pytest.raises(SourceError, match=r"=0 .*reviews_Things_5"):
        _read(path, tmp_path)


def test_a_truncated_gzip_names_file_and_line(tmp_path: Path) -> None:
    packed = gzip.compress(json_lines(*[review(reviewerID=f"A{i}") for i in range(500)]))
    path = tmp_path / f"{REVIEWS}.gz"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"gzip stream ends badly after line \d+.*\.gz:\d+\).*fetch it again"):
        _read(path, tmp_path)


def test_a_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(json_lines(*[review(reviewerID=f"A{i}") for i in range(500)])))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / f"{REVIEWS}.gz"
    path.write_bytes(bytes(packed))
    with pytest.raises(SourceError, match="truncated or damaged"):
        _read(path, tmp_path)


def test_a_last_line_cut_off_is_a_truncated_file(tmp_path: Path) -> None:
    path = write(tmp_path / REVIEWS, json_lines(review(), review())[:-20])
    with pytest.raises(SourceError, match=rf"cut off.*{REVIEWS}:2"):
        _read(path, tmp_path)


def test_a_file_of_another_format_is_an_error_with_its_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / REVIEWS, b"user,item\n" + b"a,b\n" * 200)
    with pytest.raises(SourceError, match=rf"line='user,item'.*one JSON object per line.*{REVIEWS}:1"):
        _read(path, tmp_path)
