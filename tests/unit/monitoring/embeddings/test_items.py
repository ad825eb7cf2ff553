"""Where items lie: by a bundle's vectors, new ones by its encoder, each embedded once, anew for another bundle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import TABLES
from monitoring.embeddings import items as module
from monitoring.embeddings.items import STORE, PlacedItems, place_items, read_items
from tests.unit.monitoring.embeddings.shop import save_vectors, vectors_of

KNOWN = [f"i{n}" for n in range(40)]


class Encoder:
    """As the bundle's vectors were made: by the number that an item's text begins with."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return vectors_of(80)[[int(text.split()[0]) for text in texts]]


def _clean(folder: Path, n_items: int, taken: list[int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    items = [{"item_id": f"i{n}", "title": f"{n} tea" if n != 45 else None} for n in range(n_items)]
    events = [
        {"event_id": f"e{n}", "user_id": "u", "item_id": f"i{item}", "event": "view", "position": n,
         "timestamp": datetime(2025, 1, 1, tzinfo=UTC)} for n, item in enumerate(taken)
    ]  # fmt: skip
    for name, found in (("items", items), ("interactions", events)):
        pq.write_table(pa.Table.from_pylist(found, schema=TABLES[name].arrow()), folder / f"{name}.parquet")  # type: ignore[index]
    return folder


def _place(tmp_path: Path, clean: Path, encode: Encoder, digest: str = "d", vectors: str = "vectors") -> PlacedItems:
    return place_items(tmp_path / "watched", clean, tmp_path / vectors, digest, encode, 400)


def _of(items: PlacedItems, item_id: str) -> np.ndarray:
    found: np.ndarray = items.vectors[items.item_ids.index(item_id)]
    return found


def test_items_of_the_bundle_lie_where_its_vectors_are_and_each_axis_varies_alike(tmp_path: Path) -> None:
    save_vectors(tmp_path / "vectors", KNOWN, vectors_of(40))
    items = _place(tmp_path, _clean(tmp_path / "clean", 40, [1]), encode := Encoder())
    assert (set(items.item_ids), encode.asked) == (set(KNOWN), [])
    np.testing.assert_allclose(items.vectors.std(axis=0), 1, rtol=1e-3)
    near, far = (np.linalg.norm(_of(items, "i0") - _of(items, other)) for other in ("i8", "i1"))
    assert near < far  # of one category and style, and of another
    read = read_items(tmp_path / "watched", "d")
    assert read is not None
    assert (read.item_ids, read.labels) == (items.item_ids, items.labels)
    np.testing.assert_allclose(read.vectors, items.vectors, rtol=1e-5)
    assert read_items(tmp_path / "watched", "other") is None
    assert read_items(tmp_path / "watched", None) is None


def test_new_items_that_users_take_are_embedded_once_and_lie_where_a_bundle_that_knew_them_had_them(
    tmp_path: Path,
) -> None:
    save_vectors(tmp_path / "vectors", KNOWN, vectors_of(40))
    clean, encode = _clean(tmp_path / "clean", 48, [41, 42, 45, 42]), Encoder()  # the title of 45 is missing
    items = _place(tmp_path, clean, encode)
    assert encode.asked == ["42 tea", "41 tea"]
    assert items.labels[-2:] == ("42 tea", "41 tea")
    at = (tmp_path / "watched" / STORE).stat().st_mtime_ns
    assert _place(tmp_path, clean, encode).item_ids == items.item_ids
    assert (tmp_path / "watched" / STORE).stat().st_mtime_ns == at
    later = _place(tmp_path, _clean(tmp_path / "clean", 48, [41, 42, 47]), encode)
    assert (encode.asked, later.item_ids[:-1]) == (["42 tea", "41 tea", "47 tea"], items.item_ids)
    distances = np.linalg.norm(later.vectors - _of(later, "i42"), axis=1)
    assert later.item_ids[int(np.argsort(distances)[1])] in {f"i{n}" for n in range(48) if n % 4 == 2}
    # Of another bundle everything is made anew, in its own space.
    save_vectors(tmp_path / "next", [*KNOWN, "i41", "i42"], vectors_of(80)[[*range(40), 41, 42]])
    anew = _place(tmp_path, clean, encode, digest="d2", vectors="next")
    assert encode.asked[3:] == ["47 tea"]
    assert set(anew.item_ids) == {*KNOWN, "i41", "i42", "i47"}
    assert read_items(tmp_path / "watched", "d") is None


def test_a_look_embeds_a_number_of_new_items_at_most_those_taken_most_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_NEW", 1)
    save_vectors(tmp_path / "vectors", KNOWN, vectors_of(40))
    clean, encode = _clean(tmp_path / "clean", 48, [41, 42, 42]), Encoder()
    for n in (1, 2, 2):
        _place(tmp_path, clean, encode)
        assert encode.asked == ["42 tea", "41 tea"][:n]


def test_a_few_items_and_items_without_words_are_placed_nowhere(tmp_path: Path) -> None:
    save_vectors(tmp_path / "vectors", KNOWN[:10], vectors_of(10))
    clean, encode = _clean(tmp_path / "clean", 48, [41]), Encoder()
    assert not _place(tmp_path, clean, encode).is_usable
    read = read_items(tmp_path / "watched", "d")
    assert read is not None
    assert not read.is_usable
    rows = vectors_of(40)
    rows[3] = 0
    save_vectors(tmp_path / "next", KNOWN, rows)
    assert set(_place(tmp_path, clean, encode, "d2", "next").item_ids) == {*KNOWN, "i41"} - {"i3"}
