"""A SQLite database becomes a query per table; lines of orders are joined to their orders."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.settings.loading import load_settings
from core.settings.source import SqlSource
from tests.own_data import NOW, write_database
from tests.unit.validation.source_files import read_raw
from validation.errors import SourceError
from validation.profile.profiling import profile_source
from validation.profile.settings import settings_text
from validation.sources import database as sql_source


def source_of(path: Path) -> SqlSource:
    file = path.parent / "written.toml"
    file.write_text(settings_text(profile_source(path, NOW), "x"), encoding="utf-8")
    source = load_settings(file).recipe.source
    assert isinstance(source, SqlSource)
    return source


def write_flat(path: Path, columns: str, rows: list[tuple]) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE sales ({columns})")
        connection.executemany(f"INSERT INTO sales VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return path


def test_the_queries_join_lines_and_orders(tmp_path):
    source = source_of(write_database(tmp_path / "shop.db"))
    assert source.url == f"sqlite:///{tmp_path}/shop.db"
    assert "order_lines AS a JOIN orders AS b ON a.order_id = b.id" in source.queries["interactions"]
    assert source.queries["items"] == "SELECT id AS item_id, name AS title, category, price FROM products"
    assert "email" not in source.queries["users"]


def test_the_reader_takes_what_the_profile_wrote(tmp_path):
    rows = read_raw(sql_source, source_of(write_database(tmp_path / "shop.db")), tmp_path / "raw")
    assert {table: len(found) for table, found in rows.items()} == {
        "users": 100,
        "items": 60,
        "interactions": 1800,
        "feedback": 0,
    }
    assert rows["users"][0]["attributes"] == '{"country":"DE"}'


def test_items_of_a_flat_table_are_one_row_each(tmp_path):
    rows = [(f"c{n % 9}", f"p{n % 7}", f"Lamp {n % 7}", f"2024-01-{1 + n % 28:02d}") for n in range(200)]
    path = write_flat(tmp_path / "a.sqlite", "customer, sku, product_name, sold_at", rows)
    source = source_of(path)
    read = read_raw(sql_source, source, tmp_path / "raw")
    assert len(read["items"]) == 7
    assert {row["title"] for row in read["items"]} == {f"Lamp {n}" for n in range(7)}


def test_names_that_are_words_of_sql_are_quoted(tmp_path):
    rows = [(f"c{n % 9}", f"p{n % 7}", f"2024-01-{1 + n % 28:02d}") for n in range(200)]
    source = source_of(write_flat(tmp_path / "a.db", '"user", "sku", "timestamp"', rows))
    assert '"user" AS user_id' in source.queries["interactions"]
    assert len(read_raw(sql_source, source, tmp_path / "raw")["interactions"]) == 200


def test_a_missing_user_is_asked_for_with_whole_queries(tmp_path):
    rows = [(f"c{n % 9}", f"p{n % 7}", f"2024-01-{1 + n % 28:02d}") for n in range(200)]
    path = write_flat(tmp_path / "a.db", "foo, sku, sold_at", rows)
    profile = profile_source(path, NOW)
    assert "known to name the users" in profile.draft.questions[0].text
    assert '# interactions = "SELECT' in settings_text(profile, "x")
    assert "foo AS user_id" in settings_text(profile, "x")


def test_a_database_without_tables_is_refused(tmp_path):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("DROP TABLE t")
    with pytest.raises(SourceError, match="tables=0"):
        profile_source(path, NOW)


def test_a_database_is_known_by_its_contents(tmp_path):
    write_database(tmp_path / "shop.db")
    (tmp_path / "shop.db").rename(tmp_path / "export.dat")
    assert profile_source(tmp_path / "export.dat", NOW).kind == "sql"
    assert profile_source(tmp_path, NOW).kind == "sql"


def test_the_example_counts_what_the_database_holds(tmp_path):
    profile = profile_source(write_database(tmp_path / "shop.db"), NOW)
    assert profile.abilities.lines[0].startswith("recommend: yes (1,800 events of 100 users")
