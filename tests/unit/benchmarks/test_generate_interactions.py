"""The generated log: the same for the same seed, dirty in every promised way, and only a little."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.generate_interactions import DIRTY_SHARE, generate, main

N = 40_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    generate(folder, N, seed=3)
    return folder


def test_the_seed_decides_the_rows(shop: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", N, seed=3)
    generate(tmp_path / "other", N, seed=4)
    for path in shop.glob("*.parquet"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    name = "interactions.parquet"
    assert (tmp_path / "other" / name).read_bytes() != (shop / name).read_bytes()


def test_it_is_as_large_as_it_was_asked_to_be(shop: Path) -> None:
    rows = {name: pq.read_metadata(shop / f"{name}.parquet").num_rows for name in ("interactions", "users", "items")}
    assert rows == {"interactions": N, "users": N // 50, "items": N // 250}


def test_a_few_rows_are_dirty_in_many_ways(shop: Path) -> None:
    rows = pq.read_table(shop / "interactions.parquet")
    years = pc.year(rows["timestamp"])
    ids = set(rows["event_id"].to_pylist())
    ways = {
        "no user": rows["user_id"].null_count,
        "unknown user": pc.sum(pc.equal(rows["user_id"], "nobody")).as_py(),
        "unknown item": pc.sum(pc.equal(rows["item_id"], "i-gone")).as_py(),
        "unknown event": pc.sum(pc.equal(rows["event"], "wishlist")).as_py(),
        "not a number": pc.sum(pc.is_nan(rows["value"])).as_py(),
        "infinite": pc.sum(pc.is_inf(rows["value"])).as_py(),
        "no time": rows["timestamp"].null_count,
        "1800": pc.sum(pc.equal(years, 1800)).as_py(),
        "2999": pc.sum(pc.equal(years, 2999)).as_py(),
        "repeated ids": N - len(ids),
    }
    assert all(count > 0 for count in ways.values()), ways
    assert sum(ways.values()) < 2 * DIRTY_SHARE * N


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path), "--interactions", "1000"])
    assert "interactions.parquet: 1,000 rows" in capsys.readouterr().out
