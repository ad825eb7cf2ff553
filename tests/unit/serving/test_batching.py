"""Requests that wait together are answered together, each with its own answer or error, and none for nobody; while
several wait, what computes and what answers take turns.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from core.logs.requests import current_request_id, set_request_id
from serving import batching
from serving.batching import Batcher


class Engine:
    """Doubles numbers, once it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_answer = threading.Event()
        self.began = threading.Event()

    def answer(self, numbers: Sequence[int]) -> list[Any]:
        self.began.set()
        self.may_answer.wait(10)
        self.batches.append(list(numbers))
        return [ValueError(f"{number} is odd") if number % 2 else 2 * number for number in numbers]


def run(steps: Callable[[Batcher, Engine], Any], max_batch: int = 4) -> Engine:
    """Run steps in an event loop; what the engine was asked is in its batches."""
    engine = Engine()
    batcher = Batcher(max_batch)
    try:
        asyncio.run(asyncio.wait_for(steps(batcher, engine), 20))
    finally:
        engine.may_answer.set()
        batcher.close()
    return engine


def ask(batcher: Batcher, engine: Engine, number: int, group: str = "a", limit_s: float = 10.0) -> asyncio.Task[Any]:
    return asyncio.ensure_future(batcher.answer(group, engine.answer, number, limit_s))


async def until_computing(engine: Engine) -> None:
    await asyncio.get_running_loop().run_in_executor(None, engine.began.wait, 10)


def test_what_waits_while_another_is_answered_is_answered_together() -> None:
    async def steps(batcher: Batcher, engine: Engine) -> None:
        first = ask(batcher, engine, 0)
        await until_computing(engine)
        others = [ask(batcher, engine, number) for number in (2, 4, 6, 8, 10)]
        await asyncio.sleep(0.05)
        engine.may_answer.set()
        assert await first == 0
        assert await asyncio.gather(*others) == [4, 8, 12, 16, 20]

    assert run(steps).batches == [[0], [2, 4, 6, 8], [10]]


def test_one_that_fails_fails_alone() -> None:
    async def steps(batcher: Batcher, engine: Engine) -> None:
        engine.may_answer.set()
        found = await asyncio.gather(*(ask(batcher, engine, n) for n in (2, 3, 4)), return_exceptions=True)
        assert found[::2] == [4, 8]
        assert str(found[1]) == "3 is odd"

    assert run(steps).batches == [[2, 3, 4]]


@pytest.mark.parametrize("answers", [[StopIteration(), StopIteration(), 8], [4, 6]])
def test_whatever_an_answer_is_everybody_gets_one(answers: list[Any]) -> None:
    async def steps(batcher: Batcher, engine: Engine) -> None:
        asked = [asyncio.ensure_future(batcher.answer("a", lambda _: answers, n, 10.0)) for n in (2, 3, 4)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        errors = [RuntimeError, RuntimeError, int] if len(answers) == 3 else [ValueError] * 3
        assert [type(one) for one in found] == errors
        engine.may_answer.set()
        assert await ask(batcher, engine, 2) == 4

    run(steps)


def test_whatever_a_library_raises_those_who_wait_are_told_and_others_are_answered() -> None:
    class Panic(BaseException):
        """As of a library that is written in Rust."""

    def fail(_: Sequence[int]) -> list[Any]:
        raise Panic("index out of bounds")

    async def steps(batcher: Batcher, engine: Engine) -> None:
        engine.may_answer.set()
        with pytest.raises(RuntimeError, match=r"^Panic: index out of bounds$"):
            await batcher.answer("a", fail, 2, 10.0)
        assert await ask(batcher, engine, 2) == 4

    run(steps)


def test_groups_are_answered_apart() -> None:
    async def steps(batcher: Batcher, engine: Engine) -> None:
        engine.may_answer.set()
        await asyncio.gather(ask(batcher, engine, 2), ask(batcher, engine, 4, "b"), ask(batcher, engine, 6))

    assert run(steps).batches == [[2, 6], [4]]


def test_whoever_hung_up_or_waited_too_long_is_not_computed_for() -> None:
    async def steps(batcher: Batcher, engine: Engine) -> None:
        first = ask(batcher, engine, 0)
        await until_computing(engine)
        gone, late, patient = ask(batcher, engine, 2), ask(batcher, engine, 4, limit_s=0.01), ask(batcher, engine, 6)
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        engine.may_answer.set()
        assert await first == 0
        assert await patient == 12
        with pytest.raises(TimeoutError):
            await late
        with pytest.raises(asyncio.CancelledError):
            await gone

    assert run(steps).batches == [[0], [6]]


def test_a_bug_reaches_all_who_were_answered_together() -> None:
    def broken(_: Sequence[int]) -> list[int]:
        raise ZeroDivisionError("no")

    async def steps(batcher: Batcher, engine: Engine) -> None:
        engine.may_answer.set()
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await batcher.answer("broken", broken, 1, 10)
        assert await ask(batcher, engine, 2) == 4  # the thread lives on

    run(steps)


def test_what_is_logged_meanwhile_is_of_the_requests_that_are_answered() -> None:
    seen: list[str | None] = []

    def answer(numbers: Sequence[int]) -> list[Any]:
        seen.append(current_request_id())
        return list(numbers)

    async def steps(batcher: Batcher, _: Engine) -> None:
        async def ask_as(request_id: str, group: str) -> None:
            set_request_id(request_id)
            await batcher.answer(group, answer, 1, 10.0)

        await asyncio.gather(ask_as("one", "a"), ask_as("two", "a"), ask_as("three", "b"))

    run(steps)
    assert seen == ["one two", "three"]


async def go_round(rounds: list[float], stop: threading.Event) -> None:
    """Note every round of the event loop."""
    while not stop.is_set():
        rounds.append(time.perf_counter())
        await asyncio.sleep(0)


def test_while_a_batch_is_computed_the_event_loop_stands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_LONGEST_TURN_S", 10.0)
    rounds: list[float] = []
    within: list[int] = []
    stop = threading.Event()

    def answer(numbers: Sequence[int]) -> list[Any]:
        before, until = len(rounds), time.monotonic() + 10
        time.sleep(0.02)
        while numbers == [12] and len(rounds) == before and time.monotonic() < until:
            time.sleep(0.02)
        within.append(len(rounds) - before)
        return list(numbers)

    async def steps(batcher: Batcher, _: Engine) -> None:
        ticking = asyncio.ensure_future(go_round(rounds, stop))
        await asyncio.gather(*(batcher.answer("a", answer, number, 10.0) for number in range(12)))
        alone = await batcher.answer("a", answer, 12, 10.0)
        stop.set()
        await ticking
        assert alone == 12

    run(steps)
    # The first one may have begun before the turns, and nobody waits beside the last one.
    assert len(within) == 4
    assert within[1:3] == [0, 0]
    assert within[3] > 0


def test_a_batch_that_takes_longer_than_a_turn_is_left_alone_with_its_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_LONGEST_TURN_S", 0.5)
    rounds: list[float] = []
    went_on: list[bool] = []
    stop = threading.Event()

    def answer(numbers: Sequence[int]) -> list[Any]:
        before, until = len(rounds), time.monotonic() + 10
        while len(rounds) < before + 200 and time.monotonic() < until:
            time.sleep(0.02)
        went_on.append(len(rounds) >= before + 200)
        return list(numbers)

    async def steps(batcher: Batcher, _: Engine) -> None:
        ticking = asyncio.ensure_future(go_round(rounds, stop))
        await asyncio.gather(*(batcher.answer("a", answer, number, 60.0) for number in range(12)))
        stop.set()
        await ticking

    run(steps)
    assert went_on == [True] * 3


def test_an_event_loop_whose_thread_has_ended_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_LONGEST_TURN_S", 0.5)
    rounds: list[float] = []
    stop = threading.Event()

    async def steps(batcher: Batcher, engine: Engine) -> None:
        engine.may_answer.set()
        await asyncio.gather(*(ask(batcher, engine, number) for number in (2, 4)))
        batcher.close()
        waiting = [ask(batcher, engine, number) for number in (2, 4, 6)]
        ticking = asyncio.ensure_future(go_round(rounds, stop))
        until = time.monotonic() + 10
        while len(rounds) < 200 and time.monotonic() < until:
            await asyncio.sleep(0)
        stop.set()
        await ticking
        for one in waiting:
            one.cancel()

    run(steps)
    assert len(rounds) >= 200


def test_an_event_loop_that_hangs_keeps_no_batch_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_LONGEST_TURN_S", 0.01)
    batches: list[list[int]] = []
    all_computed = threading.Event()

    def answer(numbers: Sequence[int]) -> list[Any]:
        batches.append(list(numbers))
        if len(batches) == 3:
            all_computed.set()
        return list(numbers)

    async def steps(batcher: Batcher, _: Engine) -> None:
        async def hang(number: int) -> bool:
            await batcher.answer("a", answer, number, 60.0)
            return all_computed.wait(10)

        others = (batcher.answer("a", answer, number, 60.0) for number in range(1, 12))
        found = await asyncio.gather(hang(0), *others)
        assert found[0]

    run(steps)
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_the_next_batch_begins_when_the_event_loop_has_dealt_with_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_LONGEST_TURN_S", 10.0)
    dealt: list[int] = []
    at_begin: list[int] = []

    def answer(numbers: Sequence[int]) -> list[Any]:
        at_begin.append(len(dealt))
        time.sleep(0.5)
        return list(numbers)

    async def steps(batcher: Batcher, _: Engine) -> None:
        async def deal(number: int) -> None:
            await batcher.answer("a", answer, number, 60.0)
            for _ in range(5 if number == 4 else 0):
                time.sleep(0.001)  # what a request leads to takes more than one round
                dealt.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(deal(number) for number in range(12)))

    run(steps)
    assert at_begin == [0, 0, 5]
