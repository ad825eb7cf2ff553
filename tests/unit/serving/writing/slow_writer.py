"""A writer that goes on for ever, unless it is let go or told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recommender.writing.decoding import Decoding, ShouldStop, WritingStopped
from recommender.writing.examples import WritingRequest
from recommender.writing.length import Length
from serving.writing.text import Text

WAIT_S = 20.0
_TICK_S = 0.002


@dataclass
class SlowWriter:
    """Writes what is asked when it is let go.

    Attributes:
        released: Set it, and every text is finished.
        batches: The items of each batch that was begun, and their seeds.
        n_stopped: How many were ended because they were told to.
        n_sentences: Of a streamed text that are said at once; the last follows when it is let go.
        n_drafts: Of each whole text, to fill a batch with.
    """

    max_tokens: int = 500
    n_sentences: int = 2
    n_drafts: int = 1
    released: threading.Event = field(default_factory=threading.Event)
    batches: list[list[tuple[str, int]]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    n_stopped: int = 0

    def write(self, requests: Sequence[Any], seed: Any, decoding: Decoding, should_stop: ShouldStop) -> list[str]:
        seeds = [seed] * len(requests) if isinstance(seed, int) else list(seed)
        self.batches.append([(request.item, one) for request, one in zip(requests, seeds, strict=True)])
        self.tokens.append(decoding.max_new_tokens)
        self._wait(should_stop)
        return [f"Of {request.item}. By {one}." for request, one in zip(requests, seeds, strict=True)]

    def texts_at_once(self, n_sequences: int, decoding: Decoding) -> int:
        return n_sequences // self.n_drafts

    def write_aloud(
        self, request: Any, seed: int, emit: Callable[[str], None], decoding: Decoding, should_stop: ShouldStop
    ) -> str:
        self.batches.append([(request.item, seed)])
        self.tokens.append(decoding.max_new_tokens)
        said = [*(f"Sentence {number} of {request.item}." for number in range(self.n_sentences)), "The last one."]
        said[1:] = [f" {sentence}" for sentence in said[1:]]
        for sentence in said[:-1]:
            emit(sentence)
        self._wait(should_stop)
        emit(said[-1])
        return "".join(said)

    def _wait(self, should_stop: ShouldStop) -> None:
        until = time.monotonic() + WAIT_S
        while not self.released.is_set() or should_stop():
            if should_stop():
                self.n_stopped += 1
                raise WritingStopped("Stopped", got="1 text", expected="somebody who waits", do="Ask again")
            assert time.monotonic() < until, "nobody let it go"
            time.sleep(_TICK_S)


def text(item: str, seed: int = 1, length: Length | None = None) -> Text:
    """A text about an item."""
    return Text(WritingRequest(None, "", item), seed, length or Length())


def wait_for(condition: Callable[[], Any]) -> None:
    """Until it holds."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(_TICK_S)
