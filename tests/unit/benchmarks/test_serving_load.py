"""What the load benchmark makes of its samples, and the load generator against a small server."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from benchmarks.serving_load.client import UNSENT, Load, Phase, Samples
from benchmarks.serving_load.figures import Row, missed, recovery
from benchmarks.serving_load.servers import Seen


def seen(at: list[float], took: list[float], status: list[int], seconds: float = 10.0) -> Seen:
    return Seen(Phase(seconds=seconds, rate=1.0), np.array(at), np.array(took), np.array(status))


def test_only_good_answers_count() -> None:
    found = seen([0, 1, 2, 3], [0.001, 0.003, 0.0001, 9.0], [200, 200, 429, 0], seconds=2.0)
    assert found.rate == 1.0
    assert found.percentile_ms(50) == pytest.approx(2.0)
    assert math.isnan(seen([0], [1.0], [503]).percentile_ms(99))


def test_an_answer_behind_the_end_of_a_load_is_none_of_its_rate() -> None:
    """Whoever is sent more than it answers has a queue, and goes on with it when no more is sent."""
    found = seen([0.0, 1.0, 1.9, 1.9], [0.5, 0.5, 0.1, 0.2], [200] * 4, seconds=2.0)
    assert found.rate == 1.5


def test_what_is_refused_or_not_sent_is_slower_than_any_answer() -> None:
    found = seen([0.0] * 4, [0.001, 0.002, 0.0, 0.0], [200, 200, 429, UNSENT])
    assert found.percentile_of_all_ms(30) == pytest.approx(2.0)
    assert found.percentile_of_all_ms(99) == math.inf
    assert found.percentile_ms(99) < 2.0
    assert found.unsent == 1
    assert recovery(found, slow_s=1.0) == 1.0


@pytest.mark.parametrize(
    ("bad_second", "is_slow", "ended"), [(None, False, 0.0), (0, False, 1.0), (3, False, 4.0), (3, True, 4.0)]
)
def test_a_load_has_recovered_after_the_last_bad_second(bad_second: int | None, is_slow: bool, ended: float) -> None:
    at = np.arange(0, 6, 0.01)
    is_bad = np.floor(at) == (-1 if bad_second is None else bad_second)
    status = np.where(is_bad & (not is_slow), 503, 200)
    took = np.where(is_bad & is_slow, 1.0, 0.01)
    assert recovery(seen(at.tolist(), took.tolist(), status.tolist(), seconds=6.0), slow_s=0.1) == ended


def test_rows_say_what_was_missed() -> None:
    rows = [Row("good", 1.0, "ms", 2.0, "<= 1", True), Row("bad", 300.0, "", None, "<= 5", False), Row("none", 1.0)]
    assert missed(rows) == ["bad"]
    assert rows[0].cells() == ["good, ms", "1.00", "2.00", "0.50", "<= 1", "met"]
    assert rows[1].cells() == ["bad", "300", "", "", "<= 5", "MISSED"]


ANSWERS = {
    b"plain": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    b"chunked": b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
}


def load(phase: Phase, answer: bytes, closes: bool = False, pause_s: float = 0.001) -> Samples:
    """One phase against a server that answers in two pieces."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer[:20])
                await writer.drain()
                await asyncio.sleep(pause_s)
                writer.write(answer[20:])
                if closes:
                    writer.close()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def steps() -> Samples:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await Load("127.0.0.1", port, [b"GET / HTTP/1.1\r\n\r\n"]).run(phase)
        server.close()
        return found

    return asyncio.run(steps())


@pytest.mark.parametrize(("kind", "status"), [(b"plain", 200), (b"chunked", 503)])
def test_a_closed_load_asks_again_when_it_is_answered(kind: bytes, status: int) -> None:
    found = load(Phase(seconds=5.0, clients=3, requests=30), ANSWERS[kind])
    assert found.status == [status] * 30
    assert min(found.took) >= 0.001


def test_an_open_load_asks_at_its_rate() -> None:
    found = load(Phase(seconds=0.5, rate=200.0), ANSWERS[b"plain"])
    assert set(found.status) <= {200, UNSENT}
    assert found.status.count(200) > 40
    assert 50 < len(found.status) < 200


def test_a_request_without_a_connection_is_counted() -> None:
    """The server takes 64 at a time, and answers none before the load ends."""
    found = load(Phase(seconds=0.4, rate=1000.0), ANSWERS[b"plain"], pause_s=0.5)
    assert found.status.count(UNSENT) > 50
    assert {took for took, status in zip(found.took, found.status, strict=True) if status == UNSENT} == {0.0}


def test_connections_that_the_server_closes_are_opened_again() -> None:
    found = load(Phase(seconds=5.0, clients=2, requests=6), ANSWERS[b"plain"], closes=True)
    # What was sent on a connection that was about to close is lost, and counted as that.
    assert len(found.status) == 6
    assert found.status.count(200) > 2
