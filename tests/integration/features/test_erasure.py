"""A user is erased from whatever the store is kept in, and nobody else is touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.logs.events import Interaction
from core.settings.features import FeatureSettings, FeatureStoreSettings
from features.archive.publication import OFFLINE_FOLDER, open_published, require_published, schema_name
from features.erasure import erase_offline, erase_online, find_in_server, find_online, is_unfinished
from features.errors import FeastFailure
from features.feast.store import ONLINE_FILE, open_store
from features.online import OnlineFeatures
from features.refresh import online_store_of, refresh_features
from features.written_stores import STORES_FILE, note_written
from tests.integration.byte_search import find, spellings
from tests.integration.features.servers import (
    REDIS,
    postgres_url,
    redis_client,
    remove_from_servers,
    schemas,
    settings,
    tables,
)
from tests.unit.features.shops import START, Row, write_shop

SETTINGS = FeatureSettings(max_history=3)
PERSON = "pérson-4711/Ä x"
LOG = [Row("uvw"[n % 3], "abcd"[n * n % 4], n, 4.0) for n in range(9)]
THEIRS = [Row(PERSON, "abcd"[n], n + 0.5, 5.0) for n in range(3)]
REVIEWS = [("u", "a", 3, "fine"), (PERSON, "b", 1.5, "Nothing escapes me.")]


@pytest.fixture(params=["files", "postgres and redis"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureStoreSettings]:
    if request.param == "files":
        yield FeatureStoreSettings()
        return
    url, client = postgres_url(), redis_client()
    if url is None or client is None:
        pytest.skip("no PostgreSQL or no Redis answers")
    yield settings(offline="postgres", registry="postgres", online="redis", postgres=url)
    remove_from_servers(tmp_path / "feast")


@pytest.fixture
def feast(stores: FeatureStoreSettings, tmp_path: Path) -> Path:
    """A store that had three refreshes, and the person in each of its parts."""
    folder = tmp_path / "feast"
    users = {"u": {"job": "cook"}, PERSON: {"job": "spy"}, "v": {}, "w": {}}
    for n, events in enumerate((LOG + THEIRS[:1], LOG + THEIRS)):
        clean = write_shop(tmp_path / f"clean-{n}", events, users=users, reviews=REVIEWS[: n + 1])
        refresh_features(clean, folder, SETTINGS, stores)
    push(folder, PERSON, 1)
    return folder


class Killed(BaseException):
    """A process ends here."""


def killed(*_: object) -> None:
    raise Killed


def push(feast: Path, user: str, sequence: int) -> None:
    event = Interaction(f"x{sequence}", user, "a", "view", START + timedelta(days=1))
    OnlineFeatures(feast, SETTINGS).push([event], [sequence])


def archive_rows(feast: Path) -> dict[str, list[dict[str, Any]]]:
    published = require_published(feast)
    archive = open_published(feast, published)
    archive.verify(published.n_parts)
    tables = ("events", "reviews", "users", "items")
    return {table: archive.read(table, published.n_parts).to_pylist() for table in tables}


def everywhere(feast: Path, person: str = PERSON) -> int:
    """In how many places of files and servers the id stands, whatever the store is kept in by now."""
    n = len(find(person, feast))
    if client := redis_client():
        for key in client.scan_iter(f"*{schema_name(feast)}*"):
            read = {b"hash": client.hgetall, b"zset": lambda one: client.zrange(one, 0, -1), b"string": client.get}
            kept = [read[client.type(key)](key), key]
            n += any(repr(one)[2:-1] in repr(kept) for one in spellings(person))
    if url := postgres_url():
        import psycopg

        with psycopg.connect(url) as connection:
            place = schema_name(feast)
            for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (place,)):
                rows = connection.cursor().execute(f'SELECT * FROM "{place}"."{table}"').fetchall()
                n += person in repr(rows) or any(one in repr(rows).encode() for one in spellings(person))
    return n


def test_every_store_loses_the_user_and_keeps_the_others(feast: Path, stores: FeatureStoreSettings) -> None:
    assert everywhere(feast) >= 3
    before = archive_rows(feast)
    assert find_online(feast, PERSON) == 3
    assert erase_online(feast, PERSON) == 3
    rows, times = erase_offline(feast, stores, PERSON)
    assert rows == {"events": 3, "reviews": 1, "users": 1}
    assert min(times) == START + timedelta(seconds=0.5)
    assert everywhere(feast) == 0
    after = archive_rows(feast)
    for table, kept in before.items():
        others = [row for row in kept if row.get("user_id") != PERSON]
        assert sorted(map(repr, after[table])) == sorted(map(repr, others)), table
    assert not any(find_in_server(feast, PERSON, is_distinct=True).values())
    assert find_online(feast, PERSON) == 0
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None
    assert (erase_online(feast, PERSON), erase_offline(feast, stores, PERSON)) == (0, ({}, []))
    assert is_unfinished(feast)


def test_a_refresh_then_counts_as_if_they_had_never_been(
    feast: Path, stores: FeatureStoreSettings, tmp_path: Path
) -> None:
    erase_online(feast, PERSON)
    erase_offline(feast, stores, PERSON)
    clean = write_shop(tmp_path / "without", LOG, users={"u": {"job": "cook"}, "v": {}, "w": {}}, reviews=REVIEWS[:1])
    (clean / "summary.json").write_text('{"log_sequence": 1}')
    assert refresh_features(clean, feast, SETTINGS, stores, tmp_path / "events.sqlite").rebuilt
    assert not is_unfinished(feast)
    refresh_features(clean, tmp_path / "fresh", SETTINGS)
    ours, theirs = (
        OnlineFeatures(folder, SETTINGS).read_items([*"abcd"], START) for folder in (feast, tmp_path / "fresh")
    )
    assert {name: str(ours[name]) for name in theirs} == {name: str(theirs[name]) for name in theirs}
    assert everywhere(feast) == 0


def test_a_push_that_comes_too_late_writes_nothing(feast: Path) -> None:
    erase_online(feast, PERSON)
    event = Interaction("late", PERSON, "a", "view", START + timedelta(days=1))
    OnlineFeatures(feast, SETTINGS, lambda user: user == PERSON).push([event], [9])
    assert find_online(feast, PERSON) == 0
    assert OnlineFeatures(feast, SETTINGS, lambda user: user == "u").read_user("u") is None
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None


def _erase(feast: Path, stores: FeatureStoreSettings) -> None:
    erase_online(feast, PERSON)
    erase_offline(feast, stores, PERSON)


def other_than(stores: FeatureStoreSettings) -> FeatureStoreSettings:
    """Files where it is servers, and servers where it is files."""
    if stores.online == "redis":
        return FeatureStoreSettings()
    url = postgres_url()
    if url is None or redis_client() is None:
        pytest.skip("no PostgreSQL or no Redis answers")
    return settings(offline="postgres", registry="postgres", online="redis", postgres=url)


@pytest.fixture
def moved(feast: Path, stores: FeatureStoreSettings) -> Iterator[FeatureStoreSettings]:
    """Where the store goes to by the next refresh."""
    yield other_than(stores)
    remove_from_servers(feast)


def left_of(feast: Path, stores: FeatureStoreSettings) -> set[str]:
    """What is there of a shop, whoever it names, where the store was."""
    if stores.online == "redis":
        keys = {key.decode() for key in redis_client().scan_iter(f"*{schema_name(feast)}*")}
        return keys | (schemas(stores.postgres) & {schema_name(feast)})
    return {name for name in (ONLINE_FILE, OFFLINE_FOLDER) if (feast / name).exists()}


def test_a_store_that_is_used_no_more_loses_its_files_and_whoever_is_forgotten(
    feast: Path, stores: FeatureStoreSettings, moved: FeatureStoreSettings, tmp_path: Path, caplog
) -> None:
    """And a service that had it open goes on with the one in its place. Rows on servers may be of the original of this
    folder: they stay but for those of the person, and the log says where.
    """
    serving = OnlineFeatures(feast, SETTINGS)
    assert serving.read_user(PERSON).items == ("b", "c", "a")  # as pushed
    before = left_of(feast, stores)
    refresh_features(tmp_path / "clean-1", feast, SETTINGS, moved)
    on_servers = stores.online == "redis"
    assert left_of(feast, stores) == (before if on_servers else set())
    assert (f"rows of the shop stay at {REDIS} and {stores.postgres}" in caplog.text) == on_servers
    assert serving.read_user(PERSON).items == ("a", "b", "c")
    serving.push([Interaction("y", PERSON, "a", "view", START + timedelta(days=2))], [2])
    assert OnlineFeatures(feast, SETTINGS).read_user(PERSON).items == ("b", "c", "a")
    assert serving.read_items(["a"], START)["item_n_events"].tolist() == [7]
    assert (erase_online(feast, PERSON), everywhere(feast) > 0) == (6 if on_servers else 3, True)
    erase_offline(feast, moved, PERSON)
    assert everywhere(feast) == 0
    assert not any(find_in_server(feast, PERSON, is_distinct=True).values())
    assert find_online(feast, "u") == (6 if on_servers else 3)
    assert any(find_in_server(feast, "u", is_distinct=False).values())


def test_forgetting_reaches_a_store_that_could_not_be_left(
    feast: Path,
    stores: FeatureStoreSettings,
    moved: FeatureStoreSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.leave_former", lambda _: None)
        refresh_features(tmp_path / "clean-1", feast, SETTINGS, moved)
    assert find_online(feast, PERSON) == 6
    assert any(find_in_server(feast, PERSON, is_distinct=True).values())
    assert erase_online(feast, PERSON) == 6
    erase_offline(feast, moved, PERSON)
    assert (everywhere(feast), find_online(feast, PERSON)) == (0, 0)
    assert not any(find_in_server(feast, PERSON, is_distinct=True).values())


def test_a_store_of_a_refresh_that_was_killed_is_reached_too(
    feast: Path,
    stores: FeatureStoreSettings,
    moved: FeatureStoreSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.publish", killed)
        with pytest.raises(Killed):
            refresh_features(tmp_path / "clean-1", feast, SETTINGS, moved)
    assert left_of(feast, moved)
    assert OnlineFeatures(feast, SETTINGS).read_user("u") is not None
    assert find_online(feast, PERSON) == 6
    assert erase_online(feast, PERSON) == 6
    erase_offline(feast, stores, PERSON)
    assert everywhere(feast) == 0


def test_another_address_of_the_same_servers_is_no_other_store(tmp_path: Path) -> None:
    there = other_than(FeatureStoreSettings())
    renamed = there.model_copy(
        update={name: getattr(there, name).replace("127.0.0.1", "localhost") for name in ("redis", "postgres")}
    )
    feast = tmp_path / "feast"
    clean = write_shop(tmp_path / "clean", LOG + THEIRS)
    try:
        for stores in (there, renamed):
            refresh_features(clean, feast, SETTINGS, stores)
            assert OnlineFeatures(feast, SETTINGS).read_user(PERSON) is not None
            assert len(archive_rows(feast)["events"]) == 12
        assert json.loads((feast / STORES_FILE).read_text())["written"] == [renamed.model_dump()]
        in_files = renamed.model_copy(update={"offline": "duckdb"})  # the registry stays in the database
        refresh_features(clean, feast, SETTINGS, in_files)
        assert [name for name in tables(there.postgres, feast) if name.startswith("events")]
        assert OnlineFeatures(feast, SETTINGS).read_user(PERSON) is not None
        _erase(feast, in_files)
        assert everywhere(feast) == 0
    finally:
        remove_from_servers(feast)


def test_a_copy_elsewhere_reads_and_erases_what_it_shares(tmp_path: Path) -> None:
    there = other_than(FeatureStoreSettings()).model_copy(update={"offline": "duckdb", "registry": "file"})
    feast, copy = tmp_path / "feast", tmp_path / "copy" / "feast"
    refresh_features(write_shop(tmp_path / "clean", LOG + THEIRS), feast, SETTINGS, there)
    try:
        shutil.copytree(feast, copy)
        assert OnlineFeatures(copy, SETTINGS).read_user(PERSON).items == ("a", "b", "c")
        assert (erase_online(copy, PERSON), find_online(feast, PERSON)) == (3, 0)
    finally:
        remove_from_servers(feast)


def test_a_former_store_that_does_not_answer_is_not_taken_for_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feast = tmp_path / "feast"
    clean = write_shop(tmp_path / "clean", LOG + THEIRS)
    refresh_features(clean, feast, SETTINGS)
    for gone in (
        FeatureStoreSettings(online="redis", redis="127.0.0.1:1"),
        FeatureStoreSettings(offline="postgres", postgres="postgresql://127.0.0.1:1/gone"),
    ):
        note_written(feast, gone)
        caplog.clear()
        refresh_features(clean, feast, SETTINGS)
        assert "127.0.0.1:1" in caplog.text
        with pytest.raises(FeastFailure, match=r"127\.0\.0\.1:1"):
            _erase(feast, FeatureStoreSettings())
        with pytest.raises(FeastFailure, match=r"127\.0\.0\.1:1"):
            find_online(feast, PERSON) + len(find_in_server(feast, PERSON, is_distinct=True))
        (feast / STORES_FILE).unlink()


def test_a_refresh_that_is_killed_while_it_counts_anew_is_followed_by_one_that_does(
    feast: Path, stores: FeatureStoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase_online(feast, PERSON)
    erase_offline(feast, stores, PERSON)
    clean = write_shop(tmp_path / "without", LOG, users={"u": {"job": "cook"}, "v": {}, "w": {}}, reviews=REVIEWS[:1])
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.write_online", killed)
        with pytest.raises(Killed):
            refresh_features(clean, feast, SETTINGS, stores)
    assert is_unfinished(feast)
    assert refresh_features(clean, feast, SETTINGS, stores).rebuilt
    assert not is_unfinished(feast)


def test_a_view_that_was_deleted_keeps_nobody_from_being_forgotten(tmp_path: Path) -> None:
    feast = tmp_path / "feast"
    refresh_features(write_shop(tmp_path / "clean", LOG + THEIRS), feast, SETTINGS)
    store = open_store(feast)
    online_store_of(store).drop(store.config, [store.get_feature_view("user_seen")])
    assert (find_online(feast, PERSON), erase_online(feast, PERSON)) == (2, 2)
