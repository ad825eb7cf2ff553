"""Reader of kind "amazon-2023"."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from core.settings.source import Amazon2023Source
from tests.unit.validation.source_files import json_lines, read_raw, write
from validation.errors import SourceError
from validation.sources import amazon_2023

REVIEW = {
    "rating": 4.0,
    "title": "Fine.",
    "text": "Warm tone, easy to tune.",
    "images": [{"small_image_url": "https://example.org/1.jpg"}],
    "asin": "B1-red",
    "parent_asin": "B1",
    "user_id": "A1",
    "timestamp": 1588687728923,
    "helpful_vote": 2,
    "verified_purchase": True,
}
META = {
    "main_category": "Musical Instruments",
    "title": "Strings",
    "average_rating": 4.5,
    "rating_number": 12,
    "features": ["Six of them", "Steel"],
    "description": ["Bright.", "Loud."],
    "price": 13.98,
    "store": "Nut",
    "categories": ["Music", "Strings"],
    "details": {"Weight": "1 pound"},
    "parent_asin": "B1",
}


def _read(path: Path, tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    return read_raw(amazon_2023, Amazon2023Source(path=path), tmp_path / "raw")


def test_reviews_without_times_are_in_the_order_of_their_file_where_the_settings_say_so(tmp_path: Path) -> None:
    untimed = {key: value for key, value in REVIEW.items() if key != "timestamp"}
    path = write(tmp_path / "Things.jsonl", json_lines(untimed, untimed))
    raw = read_raw(amazon_2023, Amazon2023Source(path=path, no_time="file_order"), tmp_path / "raw")
    assert [str(row["timestamp"])[:19] for row in raw["feedback"]] == ["2000-01-01 00:00:01", "2000-01-01 00:00:02"]


@pytest.mark.parametrize("name", ["Things.jsonl", "Things.jsonl.gz"])
def test_a_review_becomes_a_rating_and_a_feedback_row_about_the_parent_product(tmp_path: Path, name: str) -> None:
    write(tmp_path / "in" / name, json_lines(REVIEW, {**REVIEW, "user_id": "A2", "title": "", "rating": 1.0}))
    raw = _read(tmp_path / "in", tmp_path)
    first, second = raw["interactions"]
    assert (first["user_id"], first["item_id"], first["event"], first["value"]) == ("A1", "B1", "rating", "4.0")
    assert (first["timestamp"], first["position"], second["position"]) == ("1588687728923", 1, 2)
    assert [row["text"] for row in raw["feedback"]] == ["Fine. Warm tone, easy to tune", "Warm tone, easy to tune"]
    assert [row["rating"] for row in raw["feedback"]] == ["4.0", "1.0"]
    assert first["source"]["verified_purchase"] == "true"
    assert json.loads(first["source_text"]) == REVIEW
    assert (first["source_file"], first["source_number"]) == (name, 1)


def test_metadata_become_items(tmp_path: Path) -> None:
    write(tmp_path / "Things.jsonl", json_lines(REVIEW))
    bare = {"parent_asin": "B2", "title": "Pick", "main_category": "Music", "categories": [], "description": []}
    write(
        tmp_path / "meta_Things.jsonl.gz", json_lines(META, {**bare, "price": "None"}, {**bare, "price": "from 4.99"})
    )
    first, second, third = _read(tmp_path, tmp_path)["items"]
    assert (first["item_id"], first["title"], first["brand"], first["price"]) == ("B1", "Strings", "Nut", "13.98")
    assert first["description"] == "Six of them Steel Bright. Loud."
    assert first["category"] == "Music > Strings"
    assert (second["category"], second["description"], second["price"]) == ("Music", None, None)
    assert third["price"] == "4.99"


def test_a_bad_line_is_a_row_with_its_text(tmp_path: Path) -> None:
    path = write(tmp_path / "Things.jsonl", json_lines(REVIEW, "{'a': 1}", REVIEW))
    raw = _read(path, tmp_path)
    assert [row["source_error"] is None for row in raw["interactions"]] == [True, False, True]
    assert raw["interactions"][1]["source_text"] == "{'a': 1}"  # Python literals are of the 2014 release only
    assert len(raw["feedback"]) == 2


def test_a_truncated_gzip_says_after_which_line(tmp_path: Path) -> None:
    packed = gzip.compress(json_lines(*[{**REVIEW, "user_id": f"A{n * n}"} for n in range(5000)]))
    path = tmp_path / "Things.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"gzip stream ends badly after line [1-9]\d+.*Things\.jsonl\.gz"):
        _read(path, tmp_path)


def test_a_folder_without_reviews_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", b"x")
    with pytest.raises(SourceError, match=r"notes\.txt"):
        _read(tmp_path, tmp_path)
