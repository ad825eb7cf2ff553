"""What is noted of a request: where nobody asked, nothing."""

from __future__ import annotations

from contextvars import Context

from core.logs.traces import Trace, begin_trace, current_trace, note
from core.stages import Timed

RANK = Timed("rank", 1, 5, 4)


def test_outside_of_a_trace_nothing_is_noted() -> None:
    def noted() -> Trace | None:
        note(model="v1")
        return current_trace()

    assert Context().run(noted) is None


def test_words_are_noted_once_and_empty_ones_not_at_all() -> None:
    def noted() -> Trace:
        trace = begin_trace()
        for model in ("v2", "v1", "v2"):
            note(model=model, experiment="")
        return trace

    assert {name: list(words) for name, words in Context().run(noted).notes.items()} == {"model": ["v2", "v1"]}


def test_stages_of_several_passes_follow_each_other() -> None:
    trace = Trace()
    trace.passed([RANK], 3)
    trace.passed([Timed("log", 6, 7, 1)], 1)
    assert ([one.stage for one in trace.stages], trace.together) == (["rank", "log"], 3)
