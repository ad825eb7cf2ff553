"""Reader of kind "recbole"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.settings.source import RecboleSource
from tests.unit.validation.source_files import read_raw, write
from validation.errors import SourceError
from validation.sources import recbole

INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t4\t881250949\n2\t11\t3\t881250950.5\n"
ITEM = b'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n10\tSay "Hi\tx" \t1\n'


def _read(folder: Path, tmp_path: Path):
    return read_raw(recbole, RecboleSource(path=folder), tmp_path / "raw")


def test_ratings_users_and_items(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder / "ml.inter.gz", INTER)
    write(folder / "ml.user", b"user_id:token\tage:token\n1\t24\n")
    write(
        folder / "ml.item",
        b'item_id:token\tmovie_title:token_seq\tclass:token_seq\tyear:token\n10\tThe "Big" One\tCrime Drama\t1995\n',
    )
    raw = _read(folder, tmp_path)
    first, second = raw["interactions"]
    assert (first["event"], first["value"], first["timestamp"]) == ("rating", "4", "881250949")
    assert second["timestamp"] == "881250950.5"
    assert int(first["position"]) < int(second["position"])
    assert json.loads(raw["users"][0]["attributes"]) == {"age": "24"}
    (item,) = raw["items"]
    assert (item["title"], item["category"]) == ('The "Big" One', "Crime > Drama")
    assert json.loads(item["attributes"]) == {"year": "1995"}


def test_rows_without_rating_are_purchases(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.inter", b"user_id:token\titem_id:token\ttimestamp:float\n1\t2\t881250949\n")
    (row,) = _read(tmp_path / "in", tmp_path)["interactions"]
    assert (row["event"], row["value"]) == ("purchase", None)


def test_a_row_of_another_length_is_a_bad_row(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.inter", INTER.replace(b"1\t10\t4\t", b"1\t10\t"))
    bad, good = _read(tmp_path / "in", tmp_path)["interactions"]
    assert "3 fields, the header has 4" in bad["source_error"]
    assert (bad["source_file"], bad["source_number"], bad["source_text"]) == ("a.inter", 2, "1\t10\t881250949")
    assert good["source_error"] is None


def test_an_untyped_header_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.inter", b"user_id\titem_id\ttimestamp\n1\t2\t3\n")
    with pytest.raises(SourceError, match=r"header=\['user_id'.*typed names such as user_id:token"):
        _read(tmp_path / "in", tmp_path)


def test_a_missing_timestamp_column_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.inter", b"user_id:token\titem_id:token\n1\t2\n")
    with pytest.raises(SourceError, match=r"timestamp is required and missing.*source\.no_time=file_order"):
        _read(tmp_path / "in", tmp_path)


def test_a_folder_without_inter_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.item", ITEM)
    with pytest.raises(SourceError, match=r"a\.item.*one \.inter file"):
        _read(tmp_path / "in", tmp_path)


def test_a_cut_off_last_row_is_a_truncated_file(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.inter", INTER[:-16])
    with pytest.raises(SourceError, match=r"cut off.*a\.inter:3"):
        _read(tmp_path / "in", tmp_path)
