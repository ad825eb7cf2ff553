"""Codes that a word before them names: "passport C01X00T47", "Kontonummer 4921 945 984"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from validation.masking.marks import Span
from validation.masking.normalisation import Normalised

# Groups of capitals and digits, or of letters around a digit.
CODE = r"(?:[A-Z0-9]+|[A-Za-z]*[0-9][A-Za-z0-9]*)(?:[ ./-](?:[A-Z0-9]+|[A-Za-z]*[0-9][A-Za-z0-9]*)){0,8}"
# Where it begins: at a group with a digit, or with one or two short groups of capitals before that.
_BEGINS = r"(?=(?:[A-ZÄÖÜ]{1,4}[ -]){0,2}[A-ZÄÖÜa-z]*[0-9])"
_LAST_GROUP = re.compile(r"[ ./·-][^ ./·-]*$")


@dataclass(frozen=True)
class Contextual:
    """Codes after a word.

    Attributes:
        stems: How the words begin, in small letters.
        words: Regular expression of the words, of any case.
        code: Regular expression of what may follow them.
        min_digits: How many digits it has at least.
        chars: How many letters and digits.
        gap: Characters that may stand between.
    """

    stems: tuple[str, ...]
    words: str
    code: str = CODE
    min_digits: int = 7
    chars: tuple[int, int] = (7, 34)
    gap: int = 26
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        between = rf"[^\d\n!?<>]{{0,{self.gap}}}?"
        found = (
            rf"(?<!\w)(?i:{self.words})(?!\w){between}(?<![A-Za-z0-9])(?P<value>{_BEGINS}{self.code})(?![A-Za-z0-9])"
        )
        object.__setattr__(self, "pattern", re.compile(found))

    def find(self, plain: Normalised) -> list[Span]:
        """The codes; the words stay."""
        spans = []
        for match in plain.near(self.pattern, self.stems):
            start, value = match.start("value"), match["value"]
            while value and not self._fits(value):
                shorter = _LAST_GROUP.sub("", value)
                value = shorter if shorter != value else ""
            if value:
                spans.append((start, start + len(value)))
        return spans

    def _fits(self, value: str) -> bool:
        n_chars = sum(char.isalnum() for char in value)
        n_digits = sum(char.isdigit() for char in value)
        return n_digits >= self.min_digits and self.chars[0] <= n_chars <= self.chars[1]
