"""A text that is to be written, and who writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from recommender.inputs.texts import Strategy
from recommender.writing.decoding import Decoding
from recommender.writing.examples import WritingRequest
from recommender.writing.length import Length


class Writer(Protocol):
    """The feedback writer, as far as the service needs it; see `recommender.writing.writer.FeedbackWriter`."""

    max_tokens: int

    def write(
        self,
        requests: Sequence[WritingRequest],
        seed: int | Sequence[int],
        decoding: Decoding = ...,
        should_stop: Callable[[], bool] = ...,
    ) -> list[str]:
        """One text per request, in one batch."""
        ...

    def texts_at_once(self, n_sequences: int, decoding: Decoding = ...) -> int:
        """How many texts `write` writes side by side where so many sequences may be: of a text's drafts each is one."""
        ...

    def write_aloud(
        self,
        request: WritingRequest,
        seed: int,
        emit: Callable[[str], None],
        decoding: Decoding = ...,
        should_stop: Callable[[], bool] = ...,
    ) -> str:
        """One text, each sentence and the white space before it handed out as soon as nothing can change them."""
        ...


@dataclass(frozen=True)
class Text:
    """What to write.

    Attributes:
        asked: Of whom, of what, by which rating.
        seed: Equal seeds give equal texts.
        length: What of it is kept.
        strategy: How its words are found.
    """

    asked: WritingRequest
    seed: int
    length: Length
    strategy: Strategy = "nucleus"

    def decoding(self, max_tokens: int) -> Decoding:
        """How a writer that sees so many tokens is to decode it."""
        return self.length.decoding(max_tokens, self.strategy)
