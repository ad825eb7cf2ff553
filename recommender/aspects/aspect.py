"""An opinion in a text."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Aspect:
    """An opinion in a text.

    Attributes:
        term: What it is of, singular, lower case: a noun, or two where both make its name ("battery life").
        opinion: The word that judges it, lower case ("great"); "not great" where it is denied.
        polarity: From -1 to 1; never 0.
        name: The term as it was written: "strings".
    """

    term: str
    opinion: str
    polarity: float
    name: str = field(default="", compare=False)

    @property
    def is_praise(self) -> bool:
        return self.polarity > 0


def head_of(term: str) -> str:
    """The noun that a name of several is about: "sound" of "guitar sound"."""
    return term.rsplit(" ", 1)[-1]
