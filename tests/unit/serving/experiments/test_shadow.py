"""Shadows: what does not fit is left out, what fails hurts nobody, and lists are compared by hand."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import permutations

import pytest
from scipy.stats import spearmanr

from core.logs.requests import current_request_id
from serving.experiments.shadow import ShadowQueue, overlap, rank_correlation


def test_tasks_run_and_one_that_fails_does_not_end_the_thread() -> None:
    counts: Counter[str] = Counter()
    queue = ShadowQueue(10, lambda outcome: counts.update([outcome]))
    done: list[int] = []

    def fail() -> None:
        raise ValueError("no")

    for task in (lambda: done.append(1), fail, lambda: done.append(2)):
        assert queue.submit(task, "new")
    assert queue.wait(10)
    queue.close()
    assert (done, counts) == ([1, 2], {"compared": 2, "failed": 1})


class Panic(BaseException):
    """As of a library that is written in Rust."""


def test_whatever_a_task_raises_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise Panic("no")

    counts: Counter[str] = Counter()
    queue = ShadowQueue(10, lambda outcome: counts.update([outcome]))
    for task in (fail, lambda: None):
        assert queue.submit(task, "new")
    assert queue.wait(10)
    queue.close()
    assert counts == {"compared": 1, "failed": 1}
    assert [record.message for record in caplog.records] == [
        "A shadow cannot answer, new; what is shown does not depend on it (Panic)"
    ]


def test_where_the_system_gives_no_thread_no_answer_fails_and_the_next_task_tries_it_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[int] = []
    queue = ShadowQueue(2, lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert [queue.submit(lambda: done.append(1), "new") for _ in range(3)] == [True, True, False]
        queue.close()  # has nothing to end
    assert [record.message.partition(";")[0] for record in caplog.records] == ["No thread for shadows can be started"]
    queue = ShadowQueue(2, lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert [queue.submit(lambda: done.append(1), "new") for _ in range(2)] == [True, True]
    assert not queue.submit(lambda: done.append(1), "new")  # too many wait, and go on from here
    assert queue.wait(10)
    queue.close()
    assert done == [1, 1]


def test_what_does_not_fit_is_dropped_and_closing_does_not_wait_for_it() -> None:
    counts: Counter[str] = Counter()
    queue = ShadowQueue(1, lambda outcome: counts.update([outcome]))
    begun, go = threading.Event(), threading.Event()
    queue.submit(lambda: (begun.set(), go.wait(10)), "new")
    assert begun.wait(10)
    assert [queue.submit(lambda: None, "new") for _ in range(3)] == [True, False, False]
    assert counts["dropped"] == 2
    go.set()
    queue.close()


def test_overlap() -> None:
    assert overlap(["a", "b", "c", "d"], ["d", "x", "a"]) == pytest.approx(0.5)
    assert overlap(["a"], []) == 0.0
    assert overlap([], ["a"]) is None


def test_rank_correlation_is_spearmans_of_the_common_items() -> None:
    shown = ["a", "b", "c", "d", "e"]
    for order in permutations(shown):
        expected = spearmanr(range(5), [order.index(item) for item in shown]).statistic
        assert rank_correlation(shown, [*order, "z"]) == pytest.approx(expected)
    assert rank_correlation(["a", "x", "b"], ["b", "y", "a"]) == -1.0
    assert rank_correlation(["a", "b"], ["b", "c"]) is None


def test_what_a_task_logs_is_of_the_request_that_it_compares() -> None:
    queue = ShadowQueue(10, lambda _: None)
    seen: list[str | None] = []
    assert queue.submit(lambda: seen.append(current_request_id()), "new", "one")
    assert queue.submit(lambda: seen.append(current_request_id()), "new")
    assert queue.wait(10)
    queue.close()
    assert seen == ["one", None]
