"""The published manifest names the parts that count: leftovers are in none, and what is missing is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.storage import file_digest
from features.archive.publication import UNFINISHED_FILE, open_published, require_published
from features.archive.shop_facts import load_facts, load_published, pinned
from features.errors import ArchiveDamaged
from features.refresh import refresh_features
from tests.integration.features.test_incremental import ITEMS, SETTINGS, archived, rows_online
from tests.unit.features.shops import Row, write_shop

LOG = [Row("u", "a", 1), Row("u", "b", 2), Row("v", "c", 3)]


def killed_refresh(clean: Path, feast: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refresh_features(clean, feast, SETTINGS)


@pytest.mark.parametrize("told", [False, True])
def test_what_a_killed_refresh_left_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    """The next one has news of other tables: neither the leftover part nor what is online already is its own."""
    feast = tmp_path / "feast"
    refresh_features(write_shop(tmp_path / "clean", LOG[:2], items=ITEMS), feast, SETTINGS)
    killed_refresh(write_shop(tmp_path / "clean", LOG, items=ITEMS), feast, monkeypatch)
    assert (feast / "offline" / "1" / "events-1.parquet").is_file()
    if not told:
        # A kill that came before anything was written online.
        (feast / UNFINISHED_FILE).unlink()
    dearer = [{**ITEMS[0], "price": 11.0}, *ITEMS[1:]]
    clean = write_shop(tmp_path / "clean", LOG[:2], items=dearer)
    summary = refresh_features(clean, feast, SETTINGS)
    assert (summary.rows["events"], summary.rebuilt) == (2, told)
    assert len(load_published(feast)[1].events) == 2
    refresh_features(clean, tmp_path / "whole", SETTINGS)
    assert archived(feast) == archived(tmp_path / "whole")
    if told:
        assert rows_online(feast) == rows_online(tmp_path / "whole")


def test_the_manifest_counts_and_digests_every_file(tmp_path: Path) -> None:
    feast = tmp_path / "feast"
    for n in (2, 3):
        refresh_features(write_shop(tmp_path / "clean", LOG[:n], items=ITEMS), feast, SETTINGS)
    published = require_published(feast)
    rows = {(part.table, part.part): part.rows for part in published.parts}
    assert rows == {
        ("events", 0): 2, ("reviews", 0): 0, ("users", 0): 1, ("items", 0): 4, ("events", 1): 1, ("users", 1): 1,
    }  # fmt: skip
    for part in published.parts:
        path = feast / "offline" / "1" / f"{part.table}-{part.part}.parquet"
        assert (part.size, part.digest) == (path.stat().st_size, file_digest(path))


@pytest.mark.parametrize("damage", ["missing", "short", "changed"])
def test_a_damaged_part_is_an_error_and_the_next_refresh_mends_it(tmp_path: Path, damage: str) -> None:
    feast = tmp_path / "feast"
    clean = write_shop(tmp_path / "clean", LOG, items=ITEMS)
    refresh_features(clean, feast, SETTINGS)
    path = feast / "offline" / "1" / "events-0.parquet"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-9] if damage == "short" else whole[:-1] + b"?")
    with pytest.raises(ArchiveDamaged, match=r"events-0\.parquet=.*as published .*Refresh the features"):
        load_published(feast)
    published = require_published(feast)
    if damage != "changed":
        with pytest.raises(ArchiveDamaged):
            open_published(feast, published).read("events", 1)
        assert refresh_features(clean, feast, SETTINGS).rebuilt
        assert len(load_published(feast)[1].events) == len(LOG)


def test_a_reader_keeps_what_it_reads_while_another_state_is_published(tmp_path: Path) -> None:
    feast = tmp_path / "feast"
    refresh_features(write_shop(tmp_path / "clean", LOG, items=ITEMS), feast, SETTINGS)
    facts = load_facts(feast)
    with pinned(feast, facts):
        refresh_features(write_shop(tmp_path / "clean", LOG[:1], items=ITEMS), feast, SETTINGS)
        assert load_facts(feast) is facts
        assert len(facts.events) == 3
    assert len(load_facts(feast).events) == 1
