"""Requests that are refused by the connection, over real sockets of a uvicorn server, and what it does after them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn
import uvicorn.config
from starlette.types import Receive, Scope, Send

from core.settings.platform import InFlight
from serving.guard.connections import HeadLimit, limit_heads
from serving.http.overload import OverloadGate
from serving.http.request_ids import RequestIds

HEAD_S = 1.0
SHOP = "https://shop.example"


class Service:
    """Holds requests until it is let go; one of its answers is enough to fill it."""

    def __init__(self) -> None:
        self.gate = OverloadGate(InFlight(answers=1, texts=1, events=1, others=1), origins=(SHOP,))
        self.begun: list[str] = []
        self.let_go = threading.Event()
        self.port = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.append(scope["path"])
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body, is_more = body + message.get("body", b""), message.get("more_body", False)
        while not self.let_go.is_set():
            await asyncio.sleep(0.005)
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def talk(self, steps: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]) -> Any:
        """Whatever the steps say on a connection of their own."""

        async def begin() -> Any:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                return await asyncio.wait_for(steps(reader, writer), 10)
            finally:
                writer.close()

        return asyncio.run(begin())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "")
    for name in ("seconds", "max_bytes", "refuse"):
        monkeypatch.setattr(HeadLimit, name, None)
    made = Service()
    limit_heads(HEAD_S, 5000, made.gate.refuse_early)
    app = RequestIds(made.gate.around(made.app))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    made.port = server.servers[0].sockets[0].getsockname()[1]
    yield made
    made.let_go.set()
    server.should_exit = True
    thread.join()


@pytest.fixture
def full(service: Service) -> Iterator[Service]:
    """With one request that is being answered."""
    with ThreadPoolExecutor(1) as pool, service.client() as client:
        held = pool.submit(client.post, "/v1/recommend", content=b"held")
        while not service.begun:
            time.sleep(0.005)
        yield service
        service.let_go.set()
        assert held.result().text == "held"


def post(path: str, body: bytes = b"{}", *headers: bytes) -> bytes:
    lines = [b"POST %s HTTP/1.1" % path.encode(), b"host: x", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(length.partition(b":")[2]))


@pytest.mark.parametrize("given", [None, "from-the-shop.7", "no id"])
def test_what_is_refused_early_is_refused_as_the_gates_app_does(
    full: Service, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    headers = {} if given is None else {"x-request-id": given}
    with full.client() as client:
        early = client.post("/recommend?a=1", content=b"{}", headers=headers)
        assert full.gate.take_refused() == {"/v1/recommend": 1}
        monkeypatch.setattr(HeadLimit, "refuse", None)
        late = client.post("/recommend?a=1", content=b"{}", headers=headers)
    assert full.gate.take_refused() == {"/v1/recommend": 1}
    assert (
        (early.status_code, early.reason_phrase) == (late.status_code, late.reason_phrase) == (429, "Too Many Requests")
    )
    own = {"x-request-id", "date"}
    assert {*early.headers} == {*late.headers}
    assert {k: v for k, v in early.headers.items() if k not in own} == {
        k: v for k, v in late.headers.items() if k not in own
    }
    assert early.json()["error"] == late.json()["error"]
    for answer in (early, late):
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert (answer.headers["x-request-id"] == given) is (given == "from-the-shop.7")
    assert full.begun == ["/v1/recommend"], "no app saw it"


@pytest.mark.parametrize(("origin", "may_read"), [(SHOP, True), ("https://evil.example", False)])
def test_a_page_of_an_origin_that_is_named_reads_that_it_is_to_wait_and_is_not_refused_before_it_asks(
    full: Service, monkeypatch: pytest.MonkeyPatch, origin: str, may_read: bool
) -> None:
    with full.client() as client:
        early = client.post("/v1/recommend", content=b"{}", headers={"origin": origin})
        monkeypatch.setattr(HeadLimit, "refuse", None)
        late = client.post("/v1/recommend", content=b"{}", headers={"origin": origin})
        for answer in (early, late):
            assert (answer.status_code, answer.headers["vary"]) == (429, "Origin")
            assert (answer.headers.get("access-control-allow-origin") == origin) is may_read
            assert answer.headers["access-control-expose-headers"] == "retry-after, x-request-id"
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.options, "/v1/recommend", headers={"origin": origin})
            while len(full.begun) < 2 and not asked.done():
                time.sleep(0.005)
            full.let_go.set()
            assert asked.result().status_code == 200


def test_a_connection_goes_on_after_refusals(full: Service) -> None:
    """Also where a body comes in pieces, and where the head of the next request comes with the body of this one."""

    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        found = []
        whole = post("/v1/recommend", b"x" * 20_000)
        for piece in (whole[:9000], whole[9000:], whole + whole):
            writer.write(piece)
            await asyncio.sleep(0.05)
        found += [(await answer_of(reader))[0] for _ in range(3)]
        full.let_go.set()
        while full.gate.now("answers"):
            await asyncio.sleep(0.005)
        writer.write(post("/v1/recommend", b"fine"))
        return [head.split(b"\r\n")[0] for head in found] + [(await answer_of(reader))[1]]

    refused = b"HTTP/1.1 429 Too Many Requests"
    assert full.talk(steps) == [refused, refused, refused, b"fine"]
    assert full.gate.take_refused() == {"/v1/recommend": 3}


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_connection_that_is_not_kept_is_closed(full: Service, version: bytes) -> None:
    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(post("/v1/recommend", b"{}", b"connection: close").replace(b"HTTP/1.1", b"HTTP/" + version))
        return await reader.read()

    came = full.talk(steps)
    assert came.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nconnection: close\r\n" in came


@pytest.mark.parametrize("sent", [post("/v1/recommend"), post("/v1/recommend", b"x" * 99)[:-9]])
def test_whoever_says_nothing_more_after_a_refusal_is_hung_up_on(full: Service, sent: bytes) -> None:
    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent)
        return await reader.read()

    started = time.monotonic()
    assert full.talk(steps).count(b"HTTP/1.1") == 1
    assert HEAD_S / 2 < time.monotonic() - started < 8


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_who_does_not_read_refusals_is_hung_up_on_before_they_pile_up(
    full: Service, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    made, sizes = list[Any](), list[int]()
    connection_made, refuse = HeadLimit.connection_made, HeadLimit._refuse

    def note_size(self: HeadLimit) -> bool:
        is_refused = refuse(self)
        sizes.append(self.transport.get_write_buffer_size())
        return is_refused

    def note_connection(self: HeadLimit, transport: Any) -> None:
        made.append(transport)
        connection_made(self, transport)

    monkeypatch.setattr(HeadLimit, "connection_made", note_connection)
    monkeypatch.setattr(HeadLimit, "_refuse", note_size)
    many = post("/v1/recommend", body) * 1000
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", full.port))
        with pytest.raises(ConnectionError):
            send_often(client, many, 500)
    assert sizes
    assert max(sizes) < 200_000
    assert [transport.is_closing() for transport in made] == [True]


def send_often(client: socket.socket, data: bytes, times: int) -> None:
    for _ in range(times):
        client.sendall(data)


def test_who_pipelines_and_reads_gets_each_refusal(full: Service) -> None:
    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> set[bytes]:
        found = set()
        for _ in range(100):
            writer.write(post("/v1/recommend") * 50)
            found |= {(await answer_of(reader))[0].split(b"\r\n")[0] for _ in range(50)}
        return found

    assert full.talk(steps) == {b"HTTP/1.1 429 Too Many Requests"}
    assert full.gate.take_refused() == {"/v1/recommend": 5000}


def test_a_request_behind_another_on_its_connection_waits_for_its_turn(service: Service) -> None:
    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        writer.write(post("/v1/recommend", b"one") + post("/v1/recommend", b"two"))
        await asyncio.sleep(0.1)
        service.let_go.set()
        return [(await answer_of(reader))[1] for _ in range(2)]

    assert service.talk(steps) == [b"one", b"two"]


def test_other_kinds_and_methods_and_paths_are_left_to_the_app(full: Service) -> None:
    with full.client() as client:
        assert client.get("/v1/recommend").status_code == 429, "by the app of the gate"
        full.let_go.set()
        assert client.post("/v1/score", content=b"x").status_code in (200, 429)
        assert client.post("/livez", content=b"x").text == "x"
    assert "/livez" in full.begun


def test_those_that_come_at_once_are_counted_before_their_tasks_begin() -> None:
    gate, later = OverloadGate(InFlight(answers=2, texts=1, events=1, others=1)), list[Callable[[], None]]()
    asked = [gate.refuse_early(b"/v1/recommend", later.append) for _ in range(4)]
    assert [one is None for one in asked] == [True, True, False, False]
    assert gate.refuse_early(b"/v1/events", later.append) is None
    assert gate.refuse_early(b"/v1/unheard-of", later.append) is None
    assert len(later) == 1
    later.pop()()
    assert gate.refuse_early(b"/v1/recommend", later.append) is None, "those that never came leave room"
    assert len(later) == 1
