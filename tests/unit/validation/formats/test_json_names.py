"""Which keys a file of JSON lines has."""

from __future__ import annotations

from pathlib import Path

from core.settings.source import TablesSource
from tests.unit.validation.source_files import json_lines, read_raw, write
from validation.formats.json_lines import json_names
from validation.sources import tables


def test_keys_that_only_later_lines_have_are_keys_of_the_file(tmp_path: Path) -> None:
    rows = [{"b": 1, "a": 2}, "no object", {"a": 1, "c": None}, {"d": {"e": 1}, "b": 0}]
    assert json_names(write(tmp_path / "x.jsonl", json_lines(*rows))) == ["b", "a", "c", "d"]


def test_a_key_that_the_first_line_leaves_out_can_be_mapped(tmp_path: Path) -> None:
    event = {"user_id": "u", "item_id": "i", "timestamp": "2024-01-01"}
    write(tmp_path / "in" / "interactions.jsonl", json_lines(event, {**event, "stars": 4}))
    source = TablesSource(path=tmp_path / "in", columns={"interactions": {"value": "stars"}})
    tables.check(source)
    assert [row["value"] for row in read_raw(tables, source, tmp_path / "raw")["interactions"]] == [None, "4"]
