"""Stages of an answer: each is timed by itself, and nobody pays where nobody asked."""

from __future__ import annotations

import time

import pytest

from core.stages import stage, timed_stages


def spend(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_a_stage_within_another_counts_for_itself_alone() -> None:
    started = time.perf_counter()
    with timed_stages() as clock, stage("rerank"):
        spend(0.002)
        with stage("rank"):
            spend(0.01)
            with stage("retrieve"):
                spend(0.03)
    took = time.perf_counter() - started
    seconds = clock.seconds()
    assert [one.stage for one in clock.passed] == ["retrieve", "rank", "rerank"]
    assert seconds["rerank"] >= 0.002
    assert seconds["rank"] >= 0.01
    assert seconds["retrieve"] >= 0.03
    assert sum(seconds.values()) <= took
    whole = clock.passed[-1]
    assert sum(seconds.values()) == pytest.approx((whole.ended_ns - whole.began_ns) / 1e9)


def test_a_stage_that_is_passed_again_adds_up() -> None:
    with timed_stages() as clock:
        for _ in range(3):
            with stage("reasons"):
                spend(0.001)
    assert clock.seconds()["reasons"] >= 0.003
    assert len(clock.passed) == 3


def test_a_stage_that_fails_is_timed_and_fails() -> None:
    with timed_stages() as clock, pytest.raises(ValueError, match="wrong"), stage("rank"), stage("retrieve"):
        raise ValueError("wrong")
    assert [one.stage for one in clock.passed] == ["retrieve", "rank"]


def test_without_a_clock_nothing_is_kept() -> None:
    with stage("rank"):
        pass
    with timed_stages() as clock:
        pass
    assert clock.passed == []
