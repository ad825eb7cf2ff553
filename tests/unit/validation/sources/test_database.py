"""Reader of kind "sql": SQLite always, PostgreSQL where it answers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.settings.source import SqlSource
from tests.unit.validation.scans import scan_source
from tests.unit.validation.source_files import read_parts, read_raw
from validation.errors import SourceError
from validation.sources import database as sql_source
from validation.sources.ingest import check_source, ingest, source_fingerprint
from validation.sources.sqlite import SqliteConnection

POSTGRES = "postgresql://127.0.0.1:5432/test"
EVENTS = "SELECT who AS user_id, what AS item_id, stars AS value, at AS timestamp FROM log ORDER BY at"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE log (who TEXT, what INTEGER, stars REAL, at TEXT)")
        rows = [("u1", 7, 4.5, "2025-01-02 03:04:05"), ("u2", 8, None, "2025-01-03"), (None, 9, 1.0, "soon")]
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
        connection.execute("CREATE TABLE goods (item_id INTEGER, title TEXT, category TEXT, colour TEXT)")
        connection.execute("INSERT INTO goods VALUES (7, 'Tea', 'Drinks|Tea', 'green'), (8, 'Rye', 'Bread', NULL)")
        connection.commit()
    return path


def _source(path: Path, **changes: Any) -> SqlSource:
    queries = {"interactions": EVENTS, "items": "SELECT * FROM goods"}
    return SqlSource(**{"url": f"sqlite:///{path}", "queries": queries, **changes})


def test_queries_of_sqlite_become_tables(database: Path, tmp_path: Path) -> None:
    raw = ingest(_source(database, default_event="view", date_formats=("%d.%m.%Y",)), tmp_path / "raw")
    assert raw.rows == {"users": 0, "items": 2, "interactions": 3, "feedback": 0}
    assert raw.provided == ("interactions", "items")
    assert raw.forms.date_formats == ("%d.%m.%Y",)
    rows = read_parts(raw.folder, raw.parts)
    first, second, third = rows["interactions"]
    assert (first["user_id"], first["item_id"], first["value"], first["event"]) == ("u1", "7", 4.5, "rating")
    assert (second["value"], second["event"], second["position"]) == (None, "view", 2)
    assert (third["user_id"], third["timestamp"]) == (None, "soon")
    assert (third["source_file"], third["source_number"]) == ("interactions", 3)
    assert [item["category"] for item in rows["items"]] == ["Drinks > Tea", "Bread"]
    assert json.loads(rows["items"][0]["attributes"]) == {"colour": "green"}
    assert rows["items"][1]["attributes"] is None


def test_the_fingerprint_follows_the_rows_and_the_queries(database: Path) -> None:
    first = source_fingerprint(_source(database))
    assert source_fingerprint(_source(database)) == first
    assert source_fingerprint(_source(database, queries={"interactions": EVENTS})) != first
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE goods SET title = 'Green tea' WHERE item_id = 7")
        connection.commit()
    assert source_fingerprint(_source(database)) != first


def test_the_fingerprint_follows_the_order_where_that_stands_for_the_time(database: Path) -> None:
    query = "SELECT who AS user_id, what AS item_id{} FROM log WHERE who IS NOT NULL ORDER BY what {}"
    for time, differs in (("", True), (", at AS timestamp", False)):
        first, second = (
            sql_source.digest_rows(
                _source(database, no_time="file_order", queries={"interactions": query.format(time, order)})
            )
            for order in ("ASC", "DESC")
        )
        assert (first != second) is differs


def test_a_query_may_end_in_a_comment(database: Path) -> None:
    check_source(_source(database, queries={"interactions": f"{EVENTS} -- as they came"}))


def test_a_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.sqlite.*a file that exists"):
        ingest(_source(tmp_path / "gone.sqlite"), tmp_path / "raw")
    assert not (tmp_path / "gone.sqlite").exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(SourceError, match=r"not a database"):
        ingest(_source(path), tmp_path / "raw")


def test_what_the_database_says_of_a_query_is_told(database: Path, tmp_path: Path) -> None:
    queries = {"interactions": "SELECT * FROM nowhere"}
    with pytest.raises(SourceError, match=r"Cannot read interactions.*no such table: nowhere.*queries\.interactions"):
        ingest(_source(database, queries=queries), tmp_path / "raw")


def test_a_missing_column_lists_what_the_query_gives(database: Path, tmp_path: Path) -> None:
    queries = {"interactions": "SELECT who AS user_id, what AS item_id, at FROM log"}
    with pytest.raises(
        SourceError,
        match=r"interactions\.timestamp is required.*among user_id, item_id, at .*no_time=file",
    ):
        ingest(_source(database, queries=queries), tmp_path / "raw")


def test_a_query_without_rows(database: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"rows=0 of recipe\.source\.queries\.interactions"):
        ingest(_source(database, queries={"interactions": f"SELECT * FROM ({EVENTS}) WHERE false"}), tmp_path / "raw")


def test_interactions_need_a_query(database: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"queries=\['items'\].*gives interactions"):
        ingest(_source(database, queries={"items": "SELECT * FROM goods"}), tmp_path / "raw")


def test_a_column_that_mixes_types_is_text(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executemany("INSERT INTO log VALUES ('u', ?, 1, '2025')", [(number,) for number in range(3000)])
        connection.execute("INSERT INTO log VALUES ('u', 'seven', 1, '2025'), ('u', x'61', 1, '2025')")
        connection.commit()
    queries = {"interactions": "SELECT who AS user_id, what AS item_id, at AS timestamp FROM log"}
    raw = ingest(_source(database, queries=queries), tmp_path / "raw")
    rows = read_parts(raw.folder, raw.parts)["interactions"]
    assert [row["item_id"] for row in rows[-3:]] == ["2999", "seven", "a"]


def test_large_numbers_among_fractions_are_fractions(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE odd (c)")
        connection.executemany("INSERT INTO odd VALUES (?)", [(None,), (2**60,), (1.5,)])
        connection.commit()
    opened = SqliteConnection(database)
    cursor = opened.cursor()
    cursor.execute("SELECT c FROM odd")
    with cursor.fetch_record_batch() as batches:
        assert [value for batch in batches for value in batch["c"].to_pylist()] == [None, 2.0**60, 1.5]
    opened.close()


@pytest.mark.parametrize("n_nulls", [0, 2000, 60_000])
@pytest.mark.parametrize(("late", "value"), [(4.5, 4.5), (4, 4.0), ("four", "four")])
def test_a_column_may_be_null_in_all_first_rows(
    database: Path, tmp_path: Path, n_nulls: int, late: Any, value: Any
) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM log")
        views = (("u", number, None, "2025-01-01") for number in range(n_nulls))
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", [*views, ("u", 1, late, "2025-01-02")])
        connection.commit()
    raw = ingest(_source(database, default_event="view"), tmp_path / "raw")
    found = read_parts(raw.folder, raw.parts)["interactions"]
    assert [row["value"] for row in found] == [None] * n_nulls + [value]


def test_a_text_of_sqlite_that_is_no_utf_8_spoils_its_own_row(database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("INSERT INTO log VALUES (CAST(x'ff61' AS TEXT), 3, 1, '2025-01-01')")
        connection.commit()
    found = scan_source(tmp_path, _source(database))
    assert sorted(rules[0] for rules in found.broken()) == ["user_id_intact", "user_id_required"]
    assert "u1" in found.clean("interactions", "user_id")


def test_an_unset_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    source = _source(tmp_path, url="postgresql://bob:${SHOP_PASSWORD}@127.0.0.1/shop")
    with pytest.raises(SourceError, match=r"\$\{SHOP_PASSWORD\} is not set.*Set SHOP_PASSWORD"):
        ingest(source, tmp_path / "raw")


def test_another_scheme_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"scheme=mysql.*postgresql://"):
        ingest(_source(tmp_path, url="mysql://127.0.0.1/shop"), tmp_path / "raw")


@pytest.mark.parametrize("password", ["hush-hush", "hush%zz"])
def test_a_database_that_does_not_answer_and_no_password_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", password)
    source = _source(tmp_path, url="postgresql://bob:${SHOP_PASSWORD}@127.0.0.1:1/shop")
    with pytest.raises(SourceError, match=r"Cannot connect") as raised:
        ingest(source, tmp_path / "raw")
    assert "hush" not in str(raised.value)


def test_what_the_driver_repeats_of_an_option_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_MODE", "hush-hush")
    source = _source(tmp_path, url="postgresql://bob@127.0.0.1:1/shop?sslmode=${SHOP_MODE}")
    with pytest.raises(SourceError, match=r"sslmode.*\*\*\*") as raised:
        ingest(source, tmp_path / "raw")
    assert "hush" not in str(raised.value)


def test_no_password_is_written_anywhere(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hush-hush")
    raw = ingest(_source(database, url=f"sqlite://bob:${{SHOP_PASSWORD}}@/{database}"), tmp_path / "raw")
    assert all(b"hush" not in path.read_bytes() for path in raw.folder.iterdir())


@pytest.fixture
def postgres_schema() -> Iterator[str]:
    """A schema of its own in the local PostgreSQL, dropped afterwards."""
    import psycopg

    try:
        connection = psycopg.connect(POSTGRES, connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"PostgreSQL does not answer at {POSTGRES}: {error}")
    name = f"sql_source_{uuid4().hex[:12]}"
    with connection:
        connection.execute(f"CREATE SCHEMA {name}")  # type: ignore[arg-type]
        try:
            yield name
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")  # type: ignore[arg-type]


def test_queries_of_postgresql_become_tables(postgres_schema: str, tmp_path: Path) -> None:
    import psycopg

    user = UUID("0a0b0c0d-1111-2222-3333-444455556666")
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE {postgres_schema}.log (who uuid, what bigint, paid numeric, at timestamptz, tags text[])"  # type: ignore[arg-type]
        )
        connection.execute(
            f"INSERT INTO {postgres_schema}.log VALUES (%s, 7, 4.5, '2025-01-02T05:04:05+02:00', ARRAY['a', 'b'])",  # type: ignore[arg-type]
            [user],
        )
    log = f"{postgres_schema}.log"
    source = SqlSource(
        url=POSTGRES,
        queries={
            "interactions": f"SELECT who AS user_id, what AS item_id, at AS timestamp, paid AS value FROM {log}",
            "items": f"SELECT what AS item_id, paid AS price, tags FROM {log}",
        },
    )
    raw = ingest(source, tmp_path / "raw")
    assert raw.fingerprint == source_fingerprint(source)
    rows = read_parts(raw.folder, raw.parts)
    (event,), (item,) = rows["interactions"], rows["items"]
    assert (event["user_id"], event["item_id"], event["value"]) == (str(user), "7", "4.5")
    assert event["timestamp"].isoformat() == "2025-01-02T03:04:05+00:00"
    assert (item["price"], json.loads(item["attributes"])) == ("4.5", {"tags": "a, b"})
    bad = source.model_copy(update={"queries": {"interactions": f"SELECT nothing FROM {log}"}})
    with pytest.raises(SourceError, match=r'column "nothing" does not exist'):
        ingest(bad, tmp_path / "raw")


@pytest.mark.parametrize("end", [";", " ;\n ", " -- the whole log", "\n"])
def test_a_query_may_end_in_a_semicolon_or_a_comment(database: Path, tmp_path: Path, end: str) -> None:
    query = f"WITH own AS ({EVENTS}) SELECT * FROM own{end}"
    source = _source(database, queries={"interactions": query})
    check_source(source)
    assert ingest(source, tmp_path / "raw").rows["interactions"] == 3


@pytest.mark.parametrize("end", [";", " ;\n ", " -- all"])
@pytest.mark.usefixtures("postgres_schema")
def test_a_query_of_postgresql_may_end_in_a_semicolon_or_a_comment(tmp_path: Path, end: str) -> None:
    query = f"SELECT 'u' AS user_id, 'i' AS item_id, now() AS timestamp{end}"
    source = SqlSource(url=POSTGRES, queries={"interactions": query})
    check_source(source)
    assert ingest(source, tmp_path / "raw").rows["interactions"] == 1


def _added_between_queries(monkeypatch: pytest.MonkeyPatch, add: Callable[[], None]) -> None:
    """Have another client write after the first query was answered."""
    run = sql_source._run

    @contextmanager
    def run_then_add(connection: Any, table: Any, query: str, source: SqlSource) -> Iterator[Any]:
        with run(connection, table, query, source) as answer:
            yield answer
        if table == "users":
            add()

    monkeypatch.setattr(sql_source, "_run", run_then_add)


def test_all_queries_of_sqlite_see_one_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as shop:
        shop.execute("PRAGMA journal_mode = WAL")
        shop.execute("CREATE TABLE users (user_id)")
        shop.execute("INSERT INTO users VALUES ('u1')")
        shop.execute("CREATE TABLE log (user_id, item_id, timestamp)")
        shop.execute("INSERT INTO log VALUES ('u1', 'i1', '2025-01-02')")
        _added_between_queries(monkeypatch, lambda: shop.execute("INSERT INTO log VALUES ('u2', 'i1', '2025-01-03')"))
        queries = {"users": "SELECT * FROM users", "interactions": "SELECT * FROM log"}
        source = SqlSource(url=f"sqlite:///{path}", queries=queries, default_event="view")
        rows = read_raw(sql_source, source, tmp_path / "raw")
        assert [row["user_id"] for row in rows["interactions"]] == ["u1"]
        rows = read_raw(sql_source, source, tmp_path / "again")
        assert [row["user_id"] for row in rows["interactions"]] == ["u1", "u2"]


def test_all_queries_of_postgresql_see_one_state(
    postgres_schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    with psycopg.connect(POSTGRES, autocommit=True) as shop:
        shop.execute(f"CREATE TABLE {postgres_schema}.users AS SELECT 'u1' AS user_id")  # type: ignore[arg-type]
        shop.execute(
            f"CREATE TABLE {postgres_schema}.log AS SELECT 'u1' AS user_id, 'i1' AS item_id, now() AS timestamp"  # type: ignore[arg-type]
        )
        _added_between_queries(
            monkeypatch,
            lambda: shop.execute(f"INSERT INTO {postgres_schema}.log VALUES ('u2', 'i1', now())"),  # type: ignore[arg-type, return-value]
        )
        queries = {
            "users": f"SELECT * FROM {postgres_schema}.users",
            "interactions": f"SELECT * FROM {postgres_schema}.log",
        }
        source = SqlSource(url=POSTGRES, queries=queries, default_event="view")
        rows = read_raw(sql_source, source, tmp_path / "raw")
        assert [row["user_id"] for row in rows["interactions"]] == ["u1"]
