"""A user is erased from whatever the store is kept in, and nobody else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.logs.events import Interaction
from core.settings.features import FeatureSettings, FeatureStoreSettings
from features.archive.publication import open_published, require_published, schema_name
from features.erasure import erase_offline, erase_online, find_in_server, find_online, is_unfinished
from features.feast.store import open_store
from features.online import OnlineFeatures
from features.refresh import online_store_of, refresh_features
from tests.integration.byte_search import find, spellings
from tests.integration.features.servers import drop_schema, postgres_url, redis_client, settings
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
    store = open_store(tmp_path / "feast")
    online_store_of(store).teardown(store.config, store.list_feature_views(), [])
    drop_schema(url, tmp_path / "feast")


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
    """In how many places of whatever the store is kept in the id stands."""
    n = len(find(person, feast))
    published = require_published(feast).stores
    if published.online == "redis":
        client = redis_client()
        for key in client.scan_iter(f"*{schema_name(feast)}*"):
            kept = [client.hgetall(key), key] if client.type(key) == b"hash" else [client.zrange(key, 0, -1), key]
            n += any(repr(one)[2:-1] in repr(kept) for one in spellings(person))
    if published.offline == "postgres":
        import psycopg

        with psycopg.connect(postgres_url()) as connection:
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
