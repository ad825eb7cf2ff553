"""Online reads while the store is away: a Redis that hangs or is killed, an SQLite file that is locked."""

from __future__ import annotations

import gc
import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.logs.events import Interaction
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.timing.circuit import CircuitBreaker
from core.tombstones import IsForgotten, nobody
from features.errors import FeastFailure, StoreUnreachable
from features.feast.store import ONLINE_FILE
from features.refresh import refresh_features
from features.resilience import ResilientFeatures
from tests.integration.features.own_redis import OwnRedis
from tests.unit.features.shops import START, Row, write_shop

SETTINGS = FeatureSettings(max_history=3)
LOG = [Row("u", "a", 0, 5.0), Row("u", "b", 1), Row("v", "c", 3, 4.0)]
TIMEOUT_S, RETRY_S = 0.3, 0.6


def store(folder: Path, stores: FeatureStoreSettings | None = None) -> Path:
    clean = write_shop(folder / "clean", LOG, items=[{"item_id": item, "price": 2.5} for item in "abcd"])
    refresh_features(clean, folder / "feast", SETTINGS, stores)
    return folder / "feast"


def reader(feast: Path, is_forgotten: IsForgotten = nobody, kept_bytes: int = 100_000) -> ResilientFeatures:
    return ResilientFeatures(
        feast, SETTINGS, is_forgotten, breaker=CircuitBreaker(RETRY_S), timeout_s=TIMEOUT_S, kept_bytes=kept_bytes
    )


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path / "redis")
    server.start()
    yield server
    server.close()


def fails_after(online: ResilientFeatures) -> tuple[type[Exception], float]:
    started = time.monotonic()
    with pytest.raises(FeastFailure) as failed:
        online.read_user("u")
    return failed.type, time.monotonic() - started


def test_a_redis_that_hangs_is_waited_for_once(redis: OwnRedis, tmp_path: Path) -> None:
    online = reader(store(tmp_path, redis.settings))
    before = online.read_user("u")
    assert before is not None
    assert before.items == ("a", "b")
    redis.hang()
    kind, seconds = fails_after(online)
    assert (kind, TIMEOUT_S <= seconds < 3 * TIMEOUT_S) == (FeastFailure, True), seconds
    for _ in range(20):
        kind, seconds = fails_after(online)
        assert (kind, seconds < TIMEOUT_S / 3) == (StoreUnreachable, True), seconds
    last = online.last_user("u")
    assert last is not None
    assert (last.items, online.last_user("v")) == (before.items, None)
    assert online.last_items(["b"])["item_n_events"].tolist() == [1]
    with pytest.raises(FeastFailure, match="See that Redis runs"):
        online.push([Interaction("p", "u", "c", "view", START + timedelta(days=1))], [1])

    redis.go_on()
    online.probe()
    assert online.is_away, "it is asked again when that is due, and not before"
    time.sleep(RETRY_S)
    online.probe()
    assert not online.is_away
    online.push([Interaction("p", "u", "c", "view", START + timedelta(days=1))], [1])
    after = online.read_user("u")
    assert after is not None
    assert after.items == ("a", "b", "c")


def test_a_redis_that_was_killed_is_found_when_it_is_back(redis: OwnRedis, tmp_path: Path) -> None:
    online = reader(store(tmp_path, redis.settings))
    assert online.read_user("u") is not None
    redis.kill()
    assert fails_after(online)[0] is FeastFailure
    assert fails_after(online)[0] is StoreUnreachable
    redis.start()
    time.sleep(RETRY_S)
    assert online.read_user("v") is not None
    assert not online.is_away


def test_a_locked_file_is_waited_for_once(tmp_path: Path) -> None:
    feast = store(tmp_path)
    online = reader(feast)
    gc.collect()  # the refresh's own connections
    other = sqlite3.connect(feast / ONLINE_FILE, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        kind, seconds = fails_after(online)
        assert (kind, seconds < 3 * TIMEOUT_S) == (FeastFailure, True), seconds
        assert fails_after(online)[0] is StoreUnreachable
        assert (online.last_user("u"), online.last_seen("u", 9.0).keys.tolist()) == (None, [])
    finally:
        other.close()
    time.sleep(RETRY_S)
    assert online.read_user("u") is not None


def test_what_is_kept_of_a_forgotten_user_is_not_told(tmp_path: Path) -> None:
    forgotten: list[str] = []
    online = reader(store(tmp_path), forgotten.__contains__)
    assert online.read_user("u") is not None
    assert online.last_user("u") is not None
    forgotten.append("u")
    assert online.last_user("u") is None
    forgotten.clear()
    assert online.last_user("u") is None, "it was let go"


def test_a_value_that_the_store_cannot_take_is_no_outage(tmp_path: Path) -> None:
    online = reader(store(tmp_path))
    with pytest.raises(FeastFailure):
        online.read_user("\ud800")
    assert not online.is_away
    assert online.read_user("u") is not None
