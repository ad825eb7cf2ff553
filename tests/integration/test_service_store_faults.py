"""The service while the online store is away: a Redis that hangs, is killed, and comes back; a locked SQLite file."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.logs.events import EventLog
from features.feast.store import ONLINE_FILE
from features.refresh import refresh_features
from tests.integration.features.own_redis import OwnRedis
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import ITEMS, RECIPE, USERS, TinyShop, copy_shop

pytestmark = pytest.mark.slow

READ = USERS[:5]
LIMITS = {"timeout_s": 0.5, "retry_s": 1.0}
# Longer than one wait for the store by far: what would wait for it each time takes that for each of many.
SLOW_S = 0.4


def requests_of(user: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Of everything that reads a user."""
    return {
        "recommend": ("/v1/recommend", {"user_id": user, "k": 3}),
        "many": ("/v1/recommend", {"users": [{"user_id": user}], "k": 3}),
        "score": ("/v1/score", {"user_id": user, "item_ids": ITEMS[:2]}),
        "popular": ("/v1/popular", {"user_id": user, "k": 3}),
        "latest": ("/v1/latest", {"user_id": user, "k": 3}),
        "search": ("/v1/search", {"user_id": user, "query": "red wine", "k": 3}),
        "similar": ("/v1/similar", {"user_id": user, "among": USERS[5:8]}),
        "feedback": ("/v1/feedback", {"user_id": user, "item_id": ITEMS[0], "kind": "reason"}),
    }


@dataclass
class Traffic:
    """Events that are sent while a test goes on, and those that the service took."""

    service: Running
    acknowledged: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _send(self) -> None:
        number = 0
        with httpx.Client(base_url=self.service.client.base_url, timeout=30) as client:
            while not self._ends.wait(0.05):
                number += 1
                name = f"{threading.get_ident()}-{number}"
                event = {"event_id": name, "user_id": f"new-{number % 7}", "item_id": ITEMS[number % 9]}
                answer = client.post("/v1/events", json={"events": [{**event, "event": "click"}]})
                (self.acknowledged if answer.status_code in (200, 202) else self.failed).append(name)


def ask_all(service: Running, users: list[str], degraded: list[str]) -> list[float]:
    """Ask everything of users; how long each answer took, seconds."""
    seconds = []
    for user in users:
        for name, (path, body) in requests_of(user).items():
            started = time.monotonic()
            answer = service.post(path, **body)
            seconds.append(time.monotonic() - started)
            assert answer.status_code == 200, (name, user, answer.text)
            found = answer.json()
            for one in found["answers"] if name == "many" else [found]:
                assert one["degraded"] == degraded, (name, user)
    return seconds


def lists_of(service: Running, users: list[str]) -> list[list[str]]:
    return [[item["item_id"] for item in service.recommend(user_id=user, k=3)["items"]] for user in users]


def check_outage(
    service: Running, shop: TinyShop, unread: list[str], take_away: Callable[[], None], bring_back: Callable[[], None]
) -> None:
    """Take the store away and bring it back, under requests and events, and see what is answered.

    Args:
        unread: Users of whom the service has read nothing yet.
    """
    ask_all(service, READ, [])
    lists = lists_of(service, READ)
    with Traffic(service) as traffic:
        service.wait_for(lambda: len(traffic.acknowledged) > 5)
        take_away()
        first = service.recommend(user_id=READ[0], k=3)
        assert first["degraded"] == ["online_store"]
        seconds = ask_all(service, [*READ, *unread], ["online_store"])
        assert sum(one > SLOW_S for one in seconds) <= len(seconds) / 5, seconds
        assert lists_of(service, READ) == lists, "they are answered as before"
        cold = service.recommend(user_id=unread[0], k=3)
        assert (cold["cold_start"], "cannot be read" in cold["reason"], len(cold["items"])) == (True, True, 3)
        assert service.client.get("/readyz").status_code == 200
        assert "online store" in service.model()["store_problem"]
        metrics = service.client.get("/metrics").text
        assert 'sommelier_degraded_answers_total{endpoint="/v1/score",without="online_store"}' in metrics
        pending = service.post("/v1/events", events=[{"user_id": "u05", "item_id": ITEMS[0], "event": "click"}])
        assert (pending.status_code, pending.json()["pushed"]) == (202, False)
        assert service.client.get(f"/v1/users/{unread[1]}").status_code == 503, "a record is not made up"
        bring_back()
        service.wait_for(lambda: service.recommend(user_id=READ[0], k=3)["degraded"] == [])
        ask_all(service, [*READ, *unread], [])
        service.wait_for(lambda: "online_store_away 0.0" in service.client.get("/metrics").text)
    assert service.model()["store_problem"] is None
    lineage = f"/v1/lineage/{first['recommendation_id']}"
    service.wait_for(lambda: service.client.get(lineage).status_code == 200)  # once the log is on the disk
    assert service.client.get(lineage).json()["shown"]["degraded"] == ["online_store"]
    assert traffic.failed == []
    log = EventLog(shop.layout.events)
    try:
        assert set(traffic.acknowledged) <= {one.event_id for _, one in log.read()}
        service.wait_for(lambda: log.count(after=log.pushed()) == 0)
        expected: dict[str, set[str]] = {}
        for _, one in log.read():
            if one.user_id.startswith("new-"):
                expected.setdefault(one.user_id, set()).add(one.item_id)
    finally:
        log.close()
    for user, items in expected.items():
        history = service.client.get(f"/v1/users/{user}").json()["history"]
        assert {entry["item_id"] for entry in history} == items


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def redis(shop: TinyShop, tmp_path: Path) -> Iterator[OwnRedis]:
    """A server with the shop's features, as its feature store is set to."""
    server = OwnRedis(tmp_path / "redis")
    server.start()
    refresh_features(shop.layout.clean("k"), shop.layout.feast, RECIPE.features, server.settings)
    yield server
    server.close()


def test_a_redis_that_hangs_and_one_that_is_killed(shop: TinyShop, redis: OwnRedis) -> None:
    with start_service(shop, "redis", online_store=LIMITS) as service:
        service.put_in_service(shop.whole)
        check_outage(service, shop, USERS[30:35], redis.hang, redis.go_on)
        check_outage(service, shop, USERS[40:45], redis.kill, redis.start)


def test_a_redis_that_comes_back_empty_is_away_until_it_is_filled(shop: TinyShop, redis: OwnRedis) -> None:
    with start_service(shop, "emptied", online_store=LIMITS) as service:
        service.put_in_service(shop.whole)
        lists = lists_of(service, READ)
        redis.lose()
        service.wait_for(lambda: service.recommend(user_id=READ[0], k=3)["degraded"] == ["online_store"])
        ask_all(service, [*READ, *USERS[30:35]], ["online_store"])
        assert lists_of(service, READ) == lists, "they are answered as before"
        assert "it was emptied" in service.model()["store_problem"]
        assert "online_store_away 1.0" in service.client.get("/metrics").text
        event = {"event_id": "emptied", "user_id": "u05", "item_id": ITEMS[0], "event": "click"}
        assert service.post("/v1/events", events=[event]).status_code == 202
        refresh_features(shop.layout.clean("k"), shop.layout.feast, RECIPE.features, redis.settings)
        service.wait_for(lambda: service.recommend(user_id=READ[0], k=3)["degraded"] == [])
        ask_all(service, [*READ, *USERS[30:35]], [])
        service.wait_for(lambda: "sommelier_events_pending 0.0" in service.client.get("/metrics").text)
        history = service.client.get("/v1/users/u05").json()["history"]
        assert (history[-1]["item_id"], history[-1]["event"]) == (ITEMS[0], "click")


def test_a_worker_that_starts_while_the_file_is_locked_answers(shop: TinyShop) -> None:
    refresh_features(shop.layout.clean("k"), shop.layout.feast, RECIPE.features)
    gc.collect()  # the refresh's own connections
    other = sqlite3.connect(shop.layout.feast / ONLINE_FILE, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        with start_service(shop, "locked", online_store=LIMITS) as service:
            service.put_in_service(shop.whole)
            ask_all(service, USERS[30:35], ["online_store"])
            assert len(service.post("/v1/popular", k=3).json()["items"]) == 3
            event = {"event_id": "locked", "user_id": "u05", "item_id": ITEMS[0], "event": "click"}
            assert service.post("/v1/events", events=[event]).status_code == 202
            other.close()
            service.wait_for(lambda: service.recommend(user_id=READ[0], k=3)["degraded"] == [])
            ask_all(service, USERS[30:35], [])
            # Pushes are tried again by a timer of their own, up to `retry_s` after rows can be read.
            service.wait_for(lambda: "sommelier_events_pending 0.0" in service.client.get("/metrics").text)
            again = service.post("/v1/events", events=[event])
            assert (again.status_code, again.json()["duplicates"]) == (200, 1)
    finally:
        other.close()
