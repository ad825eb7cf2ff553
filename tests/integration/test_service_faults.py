"""The service when what it stands on fails: its supervisor is killed, the disk is full, clients are slow."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from core.logs.events import EventLog
from tests.integration.running_service import Running, check_refusal, start_service
from tests.integration.serving_shop import ITEMS, TinyShop, copy_shop

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return copy_shop(built_shop, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def service(shop: TinyShop) -> Iterator[Running]:
    with start_service(shop, "service", spares=1) as started:
        if started.model()["model"] is None:
            started.put_in_service(shop.whole)
        yield started


def event(name: str) -> dict[str, object]:
    return {"event_id": name, "user_id": "u05", "item_id": ITEMS[0], "event": "click"}


def has_ended(process: psutil.Process) -> bool:
    """Also where nobody has asked how: in a container without an init process nobody does."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def logged(shop: TinyShop) -> set[str]:
    log = EventLog(shop.layout.events)
    try:
        return {one.event_id for _, one in log.read()}
    finally:
        log.close()


def test_a_killed_supervisor_takes_its_processes_with_it_and_no_acknowledged_event(
    shop: TinyShop, service: Running
) -> None:
    acknowledged: list[str] = []
    done = threading.Event()

    def send(number: int) -> None:
        with httpx.Client(base_url=service.client.base_url, timeout=30) as client:
            for place in range(100_000):
                name = f"killed-{number}-{place}"
                try:
                    answer = client.post("/v1/events", json={"events": [event(name)]})
                except httpx.TransportError:
                    return
                if answer.status_code in (200, 202):
                    acknowledged.append(name)
                if done.is_set():
                    return

    senders = [threading.Thread(target=send, args=(number,)) for number in range(3)]
    for sender in senders:
        sender.start()
    children = psutil.Process(service.process.pid).children(recursive=True)
    assert len(children) >= 2  # the one that answers, and the spare
    try:
        service.wait_for(lambda: len(acknowledged) > 20)
        service.process.kill()
        service.process.wait(10)
        until = time.monotonic() + 60
        while (alive := [one for one in children if not has_ended(one)]) and time.monotonic() < until:
            time.sleep(0.1)
        for survivor in alive:
            survivor.kill()
        assert alive == []
    finally:
        done.set()
        for sender in senders:
            sender.join()
    assert set(acknowledged) <= logged(shop)
    port = service.client.base_url.port
    assert not [one for one in psutil.net_connections("tcp") if one.laddr.port == port and one.status == "LISTEN"]

    with start_service(shop, "after") as again:
        again.wait_for(lambda: bool(again.model()["ready"]))
        answer = again.post("/v1/events", events=[event(acknowledged[-1])])
        assert answer.json()["duplicates"] == 1
        assert again.recommend(user_id="u05", k=3)["items"]


def test_a_full_disk_refuses_events_and_answers_go_on(shop: TinyShop, service: Running) -> None:
    """A limit on the size of files stands for the disk: what writes beyond it fails, in the worker alone."""
    children = psutil.Process(service.process.pid).children()
    (worker,) = [one for one in children if any(Path(file.path).name.startswith("seat-") for file in one.open_files())]
    assert service.post("/v1/events", events=[event("before")]).json()["accepted"] == 1
    soft, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        refused = service.post("/v1/events", events=[event("while it is full")])
        check_refusal(refused, 503, "Cannot keep the events")
        for number in range(10):
            assert service.recommend(user_id=f"u{number:02}", k=3)["items"]
        assert "while it is full" not in logged(shop)
    finally:
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (soft, hard))
    service.wait_for(lambda: service.post("/v1/events", events=[event("after")]).status_code == 200)
    assert {"before", "after"} <= logged(shop)
    assert worker.is_running()


def test_clients_that_read_nothing_do_not_keep_others_waiting(service: Running) -> None:
    address = service.client.base_url
    request = (
        f"POST /v1/popular HTTP/1.1\r\nHost: {address.host}\r\nContent-Type: application/json\r\n"
        'Content-Length: 9\r\n\r\n{"k": 20}'
    ).encode()
    slow = []
    try:
        for _ in range(40):
            one = socket.create_connection((address.host, address.port), timeout=10)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            one.sendall(request * 20)
            slow.append(one)
        started = time.monotonic()
        for _ in range(20):
            assert service.recommend(user_id="u07", k=3)["items"]
        assert time.monotonic() - started < 20
    finally:
        for one in slow:
            one.close()
    assert service.recommend(user_id="u07", k=3)["items"]
