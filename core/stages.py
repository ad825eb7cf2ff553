"""The stages of an answer, and how long each takes: timed where the work is done, and told to whoever asked for it.

Where nobody has asked, a stage costs a look at a context variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter_ns
from types import TracebackType
from typing import Literal

# features: who is asking, read from the online store. retrieve: what the parts find or make of the catalogue.
# rank: their blend, and the best of it. rerank: filters, rules, pins, variety and exploration. reasons: what is shown
# of each item, and what speaks for it. log: the record of what is shown.
Stage = Literal["features", "retrieve", "rank", "rerank", "reasons", "log"]


@dataclass(frozen=True, slots=True)
class Timed:
    """One stage, as it was passed once.

    Attributes:
        began_ns, ended_ns: By `time.perf_counter_ns`.
        own_ns: Of that, what was not spent in stages within it.
    """

    stage: Stage
    began_ns: int
    ended_ns: int
    own_ns: int


@dataclass
class StageClock:
    """The stages that were passed, in the order in which they ended."""

    passed: list[Timed] = field(default_factory=list)
    _within_ns: list[int] = field(default_factory=list)  # of each open stage: spent in stages within it

    def seconds(self) -> dict[Stage, float]:
        """What each stage took by itself, without those within it."""
        found: dict[Stage, float] = {}
        for one in self.passed:
            found[one.stage] = found.get(one.stage, 0.0) + one.own_ns / 1e9
        return found


_CLOCK: ContextVar[StageClock | None] = ContextVar("stage_clock", default=None)


@contextmanager
def timed_stages(clock: StageClock | None = None) -> Iterator[StageClock]:
    """A clock for the stages that this thread passes within the block.

    Args:
        clock: One that goes on; a new one by default.
    """
    clock = StageClock() if clock is None else clock
    token = _CLOCK.set(clock)
    try:
        yield clock
    finally:
        _CLOCK.reset(token)


class stage:  # noqa: N801  (used as a function is)
    """`with stage("rank"):` times a block. A stage within another counts for itself alone; of the same, as one.

    Args:
        name: The stage.
    """

    __slots__ = ("_began_ns", "_clock", "_name")

    def __init__(self, name: Stage) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._clock = _CLOCK.get()
        if self._clock is not None:
            self._clock._within_ns.append(0)
            self._began_ns = perf_counter_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        clock = self._clock
        if clock is None:
            return
        ended_ns = perf_counter_ns()
        took_ns = ended_ns - self._began_ns
        own_ns = took_ns - clock._within_ns.pop()
        if clock._within_ns:
            clock._within_ns[-1] += took_ns
        clock.passed.append(Timed(self._name, self._began_ns, ended_ns, own_ns))
