"""Token buckets: a burst, then the rate, for each name by itself."""

from __future__ import annotations

import pytest

from core.settings.platform import Rate
from serving.guard.rates import TokenBuckets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_then_the_rate(clock: Clock) -> None:
    buckets = TokenBuckets(Rate(per_s=2, burst=3), clock)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now = 100
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_who_is_refused_pays_nothing_for_it(clock: Clock) -> None:
    buckets = TokenBuckets(Rate(per_s=1, burst=1), clock)
    assert buckets.take("a") == 0
    assert all(buckets.take("a") > 0 for _ in range(50))
    clock.now = 1.0
    assert buckets.take("a") == 0


def test_names_do_not_share(clock: Clock) -> None:
    buckets = TokenBuckets(Rate(per_s=1, burst=1), clock)
    assert [buckets.take("a"), buckets.take("b")] == [0, 0]
    assert buckets.take("a") > 0


def test_over_a_while_no_more_pass_than_the_rate_and_one_burst(clock: Clock) -> None:
    buckets, passed = TokenBuckets(Rate(per_s=10, burst=5), clock), 0
    for step in range(10_000):
        clock.now = step / 1000
        passed += buckets.take("a") == 0
    assert passed == pytest.approx(10 * 10 + 5, abs=1)


def test_without_a_rate_nobody_is_limited_or_remembered(clock: Clock) -> None:
    buckets = TokenBuckets(Rate(), clock)
    assert {buckets.take("a") for _ in range(1000)} == {0}
    assert buckets._buckets == {}


def test_made_up_names_do_not_fill_memory_and_who_asked_last_is_kept(clock: Clock) -> None:
    buckets = TokenBuckets(Rate(per_s=1, burst=1), clock)
    for number in range(20_000):
        buckets.take("busy")
        buckets.take(str(number))
    assert len(buckets._buckets) == 10_000
    assert buckets.take("busy") > 0
