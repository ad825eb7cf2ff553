"""What clients say of items and users stands above the source, column by column, until they take it back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.overrides import Overrides
from core.schema import TableName
from core.settings.source import TablesSource
from core.settings.validation import ValidationSettings
from core.tombstones import bury
from tests.unit.validation.source_files import csv_bytes, events, read_rows, write
from validation.gate import validate
from validation.sources.ingest import ingest, source_fingerprint
from validation.summary import TableSummary

ITEMS = b"item_id,title,price,colour\ni1,Old kettle,9.5,red\ni2,Pot,3,\n"
USERS = b"user_id,job\nu1,cook\nu2,clerk\n"
SETTINGS = ValidationSettings(min_interactions=1, max_quarantined_share=1.0)


@pytest.fixture
def overrides(tmp_path: Path) -> Overrides:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "interactions.csv", csv_bytes(events(4)))
    write(folder / "items.csv", ITEMS)
    write(folder / "users.csv", USERS)
    return Overrides(tmp_path / "overrides.sqlite")


def gate(folder: Path, **forms: Any) -> Mapping[TableName, TableSummary]:
    """Read and validate anew; the counts of each table."""
    source = TablesSource(path=folder / "in", **forms)
    ingest(source, folder / "raw", forgotten=folder / "forgotten.json", overrides=folder / "overrides.sqlite")
    return validate(folder / "raw", folder / "clean", SETTINGS, folder / "docs").tables


def rows(folder: Path, table: str) -> dict[str, dict[str, Any]]:
    return {row[f"{table[:-1]}_id"]: row for row in read_rows(folder / "clean" / f"{table}.parquet")}


def test_what_is_said_counts_in_place_of_the_source_and_the_rest_stays(tmp_path: Path, overrides: Overrides) -> None:
    overrides.patch("items", "i1", {"price": 12.25, "brand": "Acme"}, {"colour": "blue", "size": "XL"})
    overrides.patch("users", "u2", {}, {"job": "nurse"})
    counts = gate(tmp_path)
    items, users = rows(tmp_path, "items"), rows(tmp_path, "users")
    kettle = items["i1"]
    assert (kettle["title"], kettle["price"], kettle["brand"]) == ("Old kettle", 12.25, "Acme")
    assert (kettle["colour"], kettle["size"]) == ("blue", "XL")
    assert (items["i2"]["title"], items["i2"]["price"], items["i2"]["size"]) == ("Pot", 3.0, None)
    assert {user: row["job"] for user, row in users.items() if user in ("u1", "u2")} == {"u1": "cook", "u2": "nurse"}
    assert (counts["items"].rows_in, counts["items"].duplicates, counts["items"].rules) == (3, 1, {"repeated": 1})


def test_an_item_that_only_clients_know_is_an_item(tmp_path: Path, overrides: Overrides) -> None:
    overrides.patch("items", "i77", {"title": "Brand new", "price": 1.0}, {})
    overrides.patch("items", "i78", {"title": "Gone again"}, {})
    overrides.delete("items", "i78")
    gate(tmp_path)
    items = rows(tmp_path, "items")
    assert items["i77"]["title"] == "Brand new"
    assert "i78" not in items


def test_two_rows_of_the_source_with_one_id_are_still_an_error(tmp_path: Path, overrides: Overrides) -> None:
    """Only the ids that clients speak of are joined."""
    write(tmp_path / "in" / "items.csv", ITEMS + b"i2,Another pot,4,\n")
    overrides.patch("items", "i1", {"price": 12.25}, {})
    counts = gate(tmp_path)["items"]
    assert counts.rules == {"repeated": 1, "key_unique": 1}
    assert counts.rows_quarantined == 1


def test_what_is_taken_back_leaves_the_source_as_it_is(tmp_path: Path, overrides: Overrides) -> None:
    source = TablesSource(path=tmp_path / "in")
    before = source_fingerprint(source)
    assert source_fingerprint(source, overrides=overrides.path) == before
    overrides.patch("items", "i1", {"price": 12.25}, {}, is_available=False)
    said = source_fingerprint(source, overrides=overrides.path)
    assert said != before
    overrides.patch("items", "i1", {"price": 12.25}, {}, is_available=True)
    assert source_fingerprint(source, overrides=overrides.path) == said
    overrides.patch("items", "i1", {"price": None}, {})
    assert source_fingerprint(source, overrides=overrides.path) == before
    gate(tmp_path)
    assert rows(tmp_path, "items")["i1"]["price"] == 9.5


def test_numbers_are_read_as_they_were_sent_whatever_the_source_writes(tmp_path: Path, overrides: Overrides) -> None:
    write(tmp_path / "in" / "items.csv", b'item_id,title,price\ni1,Old kettle,"1.234,50"\ni2,Pot,"3,00"\n')
    overrides.patch("items", "i2", {"price": 1.234}, {})
    gate(tmp_path)
    assert rows(tmp_path, "items")["i2"]["price"] == 1.234


def test_a_forgotten_user_is_in_no_part(tmp_path: Path, overrides: Overrides) -> None:
    overrides.patch("users", "u2", {}, {"job": "spy-of-u2"})
    bury(tmp_path / "forgotten.json", "u2")
    gate(tmp_path)
    assert "u2" not in rows(tmp_path, "users")
    raw = b"".join(path.read_bytes() for path in (tmp_path / "raw").iterdir())
    assert b"spy-of-u2" not in raw


def test_a_value_that_cannot_be_is_emptied_and_the_source_counts(tmp_path: Path, overrides: Overrides) -> None:
    overrides.patch("items", "i1", {"price": -4.0}, {})
    assert gate(tmp_path)["items"].warnings["price_in_range"] == 1
    assert rows(tmp_path, "items")["i1"]["price"] == 9.5
