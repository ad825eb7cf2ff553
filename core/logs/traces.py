"""What is noted of the request that is being answered, where traces are asked for; otherwise a look at a context
variable is all that it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from core.stages import Timed


@dataclass
class Trace:
    """Of one request, whichever threads work for it.

    Attributes:
        notes: Words about the answer by name; each name's distinct words in the order in which they came.
        stages: That were passed for it, in the order in which they ended.
        together: How many lists were made in one pass with its own, itself included; 0 where none was made.
    """

    notes: dict[str, dict[str, None]] = field(default_factory=dict)
    stages: list[Timed] = field(default_factory=list)
    together: int = 0

    def note(self, **words: str) -> None:
        """Note words; empty ones say nothing."""
        for name, word in words.items():
            if word:
                self.notes.setdefault(name, {})[word] = None

    def passed(self, stages: Sequence[Timed], together: int) -> None:
        """Note the stages of a pass, and how many lists it made."""
        self.stages += stages
        self.together = max(self.together, together)


_TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current_trace() -> Trace | None:
    """Of the request that is being answered; None outside of any, and where no traces are asked for."""
    return _TRACE.get()


def note(**words: str) -> None:
    """Note words of the request that is being answered, where traces are asked for."""
    trace = _TRACE.get()
    if trace is not None:
        trace.note(**words)


def begin_trace() -> Trace:
    """Begin to note, for what is called from here on."""
    trace = Trace()
    _TRACE.set(trace)
    return trace
