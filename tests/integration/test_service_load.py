"""The service under load: one of its workers is killed, and more comes in than it may work on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from core.logs.events import EventLog
from tests.integration.running_service import Running, start_service
from tests.integration.serving_shop import ITEMS, USERS, TinyShop, copy_shop

pytestmark = pytest.mark.long

# So long that no answer is late on a busy machine: what is tested is not how long one takes.
PATIENT = {"timeout_s": 100.0}


@dataclass
class Asked:
    """A request, and what became of it.

    Attributes:
        sent: Its body.
        begun: By the monotonic clock, seconds.
        status: Of the answer; None where the connection broke.
    """

    path: str
    sent: dict[str, Any]
    begun: float
    status: int | None = None
    body: dict[str, Any] = field(default_factory=dict)
    retry_after: str | None = None


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@contextmanager
def clients(
    service: Running, number: int, requests: Callable[[str], Iterator[tuple[str, Any]]]
) -> Iterator[list[Asked]]:
    """Clients that each send one request after the other; what became of each, as it is known.

    Args:
        requests: Of a client, by its name: paths and bodies, without end.
    """
    done, seen = threading.Event(), list[Asked]()

    def send(name: str) -> None:
        with httpx.Client(base_url=service.client.base_url, timeout=110) as client:
            for path, body in requests(name):
                if done.is_set():
                    return
                asked = Asked(path, body, time.monotonic())
                try:
                    answer = client.post(path, json=body)
                    asked.status, asked.retry_after = answer.status_code, answer.headers.get("retry-after")
                    asked.body = answer.json()
                except httpx.TransportError:
                    pass
                seen.append(asked)
                if asked.status == 429:
                    done.wait(0.05)

    senders = [threading.Thread(target=send, args=(f"client-{one}",)) for one in range(number)]
    for sender in senders:
        sender.start()
    try:
        yield seen
    finally:
        done.set()
        for sender in senders:
            sender.join()


def seated(service: Running) -> list[psutil.Process]:
    """The processes that answer."""
    family = psutil.Process(service.process.pid).children()
    return [one for one in family if any(Path(file.path).name.startswith("seat-") for file in one.open_files())]


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, and with it its connections; also where nobody has asked how."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def n_connections(process: psutil.Process) -> int:
    return sum(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections("tcp"))


def test_a_worker_that_is_killed_under_load_fails_what_it_was_at_and_loses_no_acknowledged_event(
    shop: TinyShop,
) -> None:
    def lists_and_events(name: str) -> Iterator[tuple[str, Any]]:
        for number in range(100_000):
            yield "/v1/recommend", {"user_id": USERS[number % 20], "k": 3}
            event = {"event_id": f"{name}-{number}", "user_id": "u05", "item_id": ITEMS[0], "event": "click"}
            yield "/v1/events", {"events": [event]}

    def n_of(path: str) -> int:
        return sum(one.path == path and one.status is not None for one in list(seen))

    with start_service(shop, "two", workers=2, spares=1, **PATIENT) as service:
        service.put_in_service(shop.whole)
        service.wait_for(lambda: service.log.read_text().count("Bundle in service") >= 2)
        with clients(service, 4, lists_and_events) as seen:
            service.wait_for(lambda: min(n_of("/v1/events"), n_of("/v1/recommend")) > 20)
            before = seated(service)
            assert len(before) == 2
            victim = max(before, key=n_connections)
            assert n_connections(victim) > 0
            victim.kill()
            service.wait_for(lambda: is_gone(victim))
            gone = time.monotonic()
            n_events, n_lists = n_of("/v1/events"), n_of("/v1/recommend")
            service.wait_for(lambda: n_of("/v1/events") > n_events + 20 and n_of("/v1/recommend") > n_lists + 20)
            service.wait_for(lambda: len(seated(service)) == 2 and victim not in seated(service))
        broken = [one for one in seen if one.status is None]
        assert [one for one in broken if one.begun > gone] == []
        assert {one.status for one in seen if one.status is not None} <= {200, 202}
        assert all(one.body["items"] for one in seen if one.path == "/v1/recommend" and one.status)
        acknowledged = {one.sent["events"][0]["event_id"] for one in seen if one.status and "events" in one.sent}
        assert len(acknowledged) > 40
        log = EventLog(shop.layout.events)
        try:
            assert acknowledged <= {one.event_id for _, one in log.read()}
        finally:
            log.close()


def test_what_is_too_much_is_refused_with_when_to_come_again_and_the_rest_is_answered(shop: TinyShop) -> None:
    most = 4

    def many_users(_: str) -> Iterator[tuple[str, Any]]:
        while True:
            yield "/v1/recommend", {"users": [{"user_id": user} for user in USERS[:30]], "k": 20}

    with start_service(shop, "crowded", in_flight={"answers": most}, **PATIENT) as service:
        service.put_in_service(shop.whole)
        quiet = [service.recommend(user_id=user, k=3)["items"] for user in USERS[:5]]
        with clients(service, 4 * most, many_users) as seen:
            service.wait_for(lambda: all(sum(one.status == status for one in list(seen)) > 30 for status in (200, 429)))
        assert {one.status for one in seen} == {200, 429}
        for one in seen:
            if one.status == 429:
                assert int(one.retry_after or 0) >= 1
                assert "error" in one.body
            else:
                assert [len(answer["items"]) > 0 for answer in one.body["answers"]] == [True] * 30
        again = [service.recommend(user_id=user, k=3)["items"] for user in USERS[:5]]
        assert [[item["item_id"] for item in items] for items in again] == [
            [item["item_id"] for item in items] for items in quiet
        ]
