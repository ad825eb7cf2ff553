"""Requests that wait together are answered together, each with its own answer or error, and none for nobody."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from core.logs.requests import current_request_id, set_request_id
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
