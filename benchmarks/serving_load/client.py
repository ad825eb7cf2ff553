"""The load generator, in a process of its own: reads what to do from standard input, writes samples to standard output.

It speaks just enough HTTP/1.1, over connections that are kept open: a full client would cost more time than the
service that it asks. A closed load has so many clients, each of which asks again as soon as it is answered. An open
load asks at given moments, however long answers take; its latencies count from when a request was due.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

MOST_CONNECTIONS = 1024
# How long answers are waited for behind the end of a phase, seconds.
GRACE_S = 3.0
# In the place of a status, where no connection was free for a request of an open load.
UNSENT = -1


@dataclass(frozen=True)
class Phase:
    """A load.

    Attributes:
        seconds: How long requests are sent.
        clients: Of a closed load; 0 for an open one.
        rate: Of an open load, requests a second, at random moments.
        requests: Of a closed load: stop after so many; 0 for no limit.
    """

    seconds: float
    clients: int = 0
    rate: float = 0.0
    requests: int = 0


@dataclass
class Samples:
    """What a phase saw, a place per request.

    Attributes:
        at: When it was sent, or was due, seconds from the phase's begin.
        took: Seconds to its answer; 0 of what was not sent.
        status: Of the answer; 0 where the connection was lost or nothing came, `UNSENT` where it was not sent.
    """

    at: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)

    def add(self, at: float, took: float, status: int) -> None:
        """Note an answer, or that there is none."""
        self.at.append(round(at, 5))
        self.took.append(round(took, 6))
        self.status.append(status)


class Connection(asyncio.Protocol):
    """One connection with one request at a time.

    Args:
        on_answer: Called with the connection and a status; 0 where the connection was lost.
    """

    def __init__(self, on_answer: Callable[[Connection, int], None]) -> None:
        self._on_answer = on_answer
        self._buffer = b""
        self._transport: Any = None
        self.is_open = False
        self.is_asking = False
        self.due = 0.0

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        self._transport, self.is_open = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.is_open = False
        if self.is_asking:
            self.is_asking = False
            self._on_answer(self, 0)

    def ask(self, request: bytes, due: float) -> None:
        """Send a request that was due at a moment of `time.perf_counter`."""
        self.due, self.is_asking, self._buffer = due, True, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or not self._is_whole(end):
            return
        self.is_asking = False
        self._on_answer(self, int(self._buffer[9:12]))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _is_whole(self, end: int) -> bool:
        head = self._buffer[:end].lower()
        place = head.find(b"content-length:")
        if place < 0:
            return self._buffer.endswith(b"0\r\n\r\n")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0])
        return len(self._buffer) >= end + 4 + length


class Load:
    """Loads one address with the same requests, in turn.

    Args:
        host: The service's.
        port: The service's.
        requests: Whole HTTP requests.
    """

    def __init__(self, host: str, port: int, requests: list[bytes]) -> None:
        self._host, self._port, self._requests = host, port, requests
        self._next = 0
        self._idle: deque[Connection] = deque()
        self._open = 0
        self._samples = Samples()
        self._begin = 0.0
        self._again: Callable[[Connection], None] = lambda _: None

    async def run(self, phase: Phase) -> Samples:
        """One phase, from its first request to its last answer."""
        self._samples = Samples()
        await (self._closed(phase) if phase.clients else self._at_rate(phase))
        return self._samples

    async def _closed(self, phase: Phase) -> None:
        await self._connect(phase.clients)
        for connection in [self._idle.popleft() for _ in range(max(0, len(self._idle) - phase.clients))]:
            self._open -= 1
            connection.close()
        self._begin = time.perf_counter()
        until = self._begin + phase.seconds
        left = phase.requests or sys.maxsize

        def again(connection: Connection) -> None:
            nonlocal left
            now = time.perf_counter()
            if now < until and left > 0 and connection.is_open:
                left -= 1
                connection.ask(self._request(), now)
            else:
                self._idle.append(connection)

        self._again = again
        for _ in range(len(self._idle)):
            again(self._idle.popleft())
        while time.perf_counter() < until and left > 0:
            await asyncio.sleep(0.02)
            for _ in range(len(self._idle)):  # connections that the service closed are opened again
                connection = self._idle.popleft()
                if connection.is_open:
                    again(connection)
                else:
                    self._open -= 1
            await self._connect(phase.clients)
        await self._settle()

    async def _at_rate(self, phase: Phase) -> None:
        await self._connect(64)
        gaps = random.Random(7)
        self._again = self._idle.append
        self._begin = due = time.perf_counter()
        until = self._begin + phase.seconds
        opening: set[asyncio.Task[None]] = set()
        while due < until:
            now = time.perf_counter()
            if due > now:
                await asyncio.sleep(due - now)
                continue
            connection = self._take()
            if connection is not None:
                connection.ask(self._request(), due)
            else:
                self._samples.add(due - self._begin, 0.0, UNSENT)
                if self._open + len(opening) < MOST_CONNECTIONS:
                    task = asyncio.ensure_future(self._connect(self._open + len(opening) + 1))
                    opening.add(task)
                    task.add_done_callback(opening.discard)
            due += gaps.expovariate(phase.rate)
            if now - due > 0.001:  # late: let answers in all the same
                await asyncio.sleep(0)
        await self._settle()

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._open -= 1
        return None

    def _request(self) -> bytes:
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def _answered(self, connection: Connection, status: int) -> None:
        now = time.perf_counter()
        self._samples.add(connection.due - self._begin, now - connection.due, status)
        self._again(connection)

    async def _connect(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        while self._open < number:
            self._open += 1
            try:
                _, connection = await loop.create_connection(lambda: Connection(self._answered), self._host, self._port)
            except OSError:
                self._open -= 1
                await asyncio.sleep(0.05)
                return
            self._idle.append(connection)

    async def _settle(self) -> None:
        """Wait for the last answers."""
        until = time.perf_counter() + GRACE_S
        while len(self._idle) < self._open and time.perf_counter() < until:
            await asyncio.sleep(0.01)


async def _main(order: dict[str, Any]) -> list[dict[str, Any]]:
    head = f"POST {order['path']} HTTP/1.1\r\nHost: {order['host']}\r\nContent-Type: application/json\r\n"
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in order["bodies"]]
    load = Load(order["host"], order["port"], requests)
    return [asdict(await load.run(Phase(**phase))) for phase in order["phases"]]


def main() -> None:
    """Carry out one order: host, port, path, bodies, and phases one after the other."""
    factory = None
    if find_spec("uvloop") is not None:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        json.dump(runner.run(_main(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
