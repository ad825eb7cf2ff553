"""What the clean tables say that the archive does not; and the tables themselves."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.archive.events import TABLES, ParquetArchive
from features.archive.news import find_news
from features.clean_tables import check_clean_tables
from features.counting.sketches import tie_of
from features.errors import CleanTablesError
from tests.unit.features.shops import Row, write_shop

LOG = [Row("u", "a", 1, 4.0), Row("v", "b", 2, position=3)]
USERS = {"u": {"age_group": "25-34", "country": "FR"}, "v": {"age_group": None, "country": "it's NL"}}


def archived(tmp_path: Path, *clean: Path) -> ParquetArchive:
    archive = ParquetArchive(tmp_path / "offline" / "1")
    for part, folder in enumerate(clean):
        for table, rows in find_news(folder, archive if part else None, part).rows.items():
            archive.write(table, part, rows)
    return archive


def test_all_is_news_without_an_archive(tmp_path: Path) -> None:
    news = find_news(write_shop(tmp_path / "clean", LOG, users=USERS, reviews=[("u", "a", 1, "twang")]), None)
    assert not news.vanished
    assert {table: len(rows) for table, rows in news.rows.items()} == {
        "events": 2,
        "reviews": 1,
        "users": 2,
        "items": 2,
    }
    assert all(rows.schema.equals(TABLES[table]) for table, rows in news.rows.items())
    assert news.rows["events"]["tie"].to_pylist() == [tie_of("e0"), tie_of("e1")]
    assert news.rows["users"]["attributes"].to_pylist() == ["age_group 25-34, country FR", "country it's NL"]


def test_only_what_is_new_or_changed_is_news(tmp_path: Path) -> None:
    archive = archived(tmp_path, write_shop(tmp_path / "clean", LOG, users=USERS))
    assert not any(len(rows) for rows in find_news(tmp_path / "clean", archive, 1).rows.values())
    items = [{"item_id": "a", "price": 9.0}, {"item_id": "b"}, {"item_id": "c"}]
    clean = write_shop(tmp_path / "clean", [*LOG, Row("u", "c", 0)], users=USERS, items=items)
    news = find_news(clean, archive, 1)
    assert not news.vanished
    assert news.rows["events"]["item_id"].to_pylist() == ["c"]
    assert news.rows["items"]["item_id"].to_pylist() == ["a", "c"]
    for table, rows in news.rows.items():
        archive.write(table, 1, rows)
    # The newest part of an item counts, and an older reader does not see it.
    assert sorted(archive.read("items", 2)["price"].to_pylist(), key=str) == [9.0, None, None]
    assert archive.read("items", 1)["price"].to_pylist() == [None, None]
    assert archive.read("events", 2, ["item_id"], user_id=pa.array(["v"]))["item_id"].to_pylist() == ["b"]
    assert [archive.count(table, 2) for table in TABLES] == [3, 0, 2, 3]


@pytest.mark.parametrize(
    ("log", "users"),
    [
        (LOG[:1], USERS),
        ([LOG[0], Row("v", "b", 2.5, position=3)], USERS),
        (LOG, {"u": USERS["u"]}),
    ],
    ids=["an event is gone", "an event changed", "a user is gone"],
)
def test_what_is_gone_or_changed_is_told(
    tmp_path: Path, log: list[Row], users: dict[str, dict[str, str | None]]
) -> None:
    archive = archived(tmp_path, write_shop(tmp_path / "before", LOG, users=USERS))
    items = [{"item_id": "a"}, {"item_id": "b"}]
    assert find_news(write_shop(tmp_path / "clean", log, users=users, items=items), archive, 1).vanished


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    clean = write_shop(tmp_path, LOG)
    (clean / "feedback.parquet").unlink()
    with pytest.raises(CleanTablesError, match=r"feedback=.*feedback\.parquet, expected a Parquet file"):
        check_clean_tables(clean)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    clean = write_shop(tmp_path, LOG)
    pq.write_table(pq.read_table(clean / "interactions.parquet").drop(["position"]), clean / "interactions.parquet")
    with pytest.raises(CleanTablesError, match=r"expected also \['position'\]"):
        check_clean_tables(clean)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    clean = write_shop(tmp_path, LOG)
    (clean / "items.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(CleanTablesError, match=r"items=.*items\.parquet, expected Parquet, but"):
        check_clean_tables(clean)
