"""A circuit breaker: closed, open, half open."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from core.timing.circuit import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def broken(retry_s: float = 2.0) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    breaker = CircuitBreaker(retry_s, clock)
    assert breaker.allows()
    assert breaker.failed("gone")
    return breaker, clock


def test_nobody_asks_again_before_its_time() -> None:
    breaker, clock = broken()
    assert (breaker.is_open, breaker.problem, breaker.wait_s) == (True, "gone", 2.0)
    clock.now += 1.9
    assert not breaker.allows()


def test_then_one_asks_and_the_others_do_without() -> None:
    breaker, clock = broken()
    clock.now += 2.0
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: breaker.allows(), range(40))) == 1
    assert breaker.is_open


def test_a_success_closes_it_and_is_told_once() -> None:
    breaker, clock = broken()
    clock.now += 2.0
    assert breaker.allows()
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert (breaker.is_open, breaker.problem, breaker.wait_s) == (False, "", 0.0)
    assert all(breaker.allows() for _ in range(3))


def test_another_failure_keeps_it_open_for_as_long_again() -> None:
    breaker, clock = broken()
    clock.now += 2.0
    assert breaker.allows()
    clock.now += 1.0  # until the failure was known
    assert not breaker.failed("still gone")
    assert breaker.problem == "still gone"
    clock.now += 1.9
    assert not breaker.allows()
    clock.now += 0.2
    assert breaker.allows()


def test_one_that_asks_and_never_comes_back_does_not_keep_it_open() -> None:
    breaker, clock = broken()
    for _ in range(3):
        clock.now += 2.0
        assert breaker.allows()
        assert not breaker.allows()


def test_without_a_pause_everybody_asks() -> None:
    breaker, _ = broken(retry_s=0.0)
    assert all(breaker.allows() for _ in range(5))
    assert breaker.is_open
