"""An answer to a request for a text, before its text is written."""

from __future__ import annotations

from dataclasses import dataclass

from serving.api.feedback import Feedback
from serving.writing.text import Text


@dataclass(frozen=True)
class Draft:
    """A text to write, and the answer that it goes into.

    Attributes:
        answer: Without its text, unless that is known already.
        text: What to write; None where there is nothing to write any more.
    """

    answer: Feedback
    text: Text | None

    def finished(self, text: str) -> Feedback:
        """The answer, with its text."""
        return self.answer.model_copy(update={"text": text})
