"""A text as an ASCII keyboard would have written it: digits, spaces, dashes and letters of any script in plain form.

Letters of scripts without capitals part what stands between them as signs do, since such scripts put no space around
an address or a number. What is found in the copy is found in the text: a map says where each character of the copy
stands.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property

import regex

from core.languages import CASED, UNCASED, goes_beyond_latin
from validation.masking.marks import Span

_DASHES = "\u2212\u2043\u02d7\u30fc"  # beside those that Unicode calls dashes: minus, hyphen bullet, and two lookalikes
_DOTS = "\u2022\u2024\u2219\u22c5\u00b7\u3002\uff61\u066b"
_APOSTROPHES = "\u2018\u2019\u02bc\u00b4"
_SLASHES = "\u2044\u2215\u29f8"
_INVISIBLE = "\u00ad\u180e\u034f"  # beside those that Unicode calls formats
_DIGIT = re.compile("[0-9]")
_SHAPE = {code: "9" if chr(code).isdigit() else "A" for code in range(128) if chr(code).isalnum()}
_LAST = 0x1FFFF  # no plane above has digits, dashes or spaces
SIGN = "\ufffc"  # for a letter without case, and each of its marks: a sign that no pattern names
_LETTER = "\u02b9"  # for a mark of another letter: a letter that no pattern names
_KATAKANA_DASH = "\u30fc"  # lengthens the vowel before it, and stands for a dash among digits
# Marks of another letter's width stay: they choose an emoji, or are characters of no width.
_MARKS = r"[\p{M}--[\u034f\u180b-\u180f\ufe00-\ufe0f]]"
_BESIDE = regex.compile(
    rf"(?P<uncased>(?!{_KATAKANA_DASH}){UNCASED}(?:{UNCASED}|{_MARKS})*+)|(?<={CASED}){_MARKS}++"
    rf"|(?:(?<={UNCASED}{_MARKS}*)(?P<sign>[。｡．，])|(?P<sign>[。｡．，])(?={UNCASED}))",
    regex.V1,
)
_ANY_MARKS = regex.compile(rf"(?<=\p{{L}}){_MARKS}++", regex.V1)
_ENDS = {"。": "!", "｡": "!", "．": "!", "，": ";"}  # a sentence or a part of it, where no space follows


@dataclass(frozen=True)
class Normalised:
    """A text in plain characters.

    Attributes:
        text: The copy.
        spelled: The same with all letters and marks, character by character.
        written: The text itself, character by character, without characters of no width.
        places: Where each of its characters stands in the text, and where the text ends; None: at the same place.
    """

    text: str
    spelled: str
    written: str
    places: list[int] | None = None
    _found: dict[tuple[str, ...], list[int]] = field(default_factory=dict, repr=False)

    @cached_property
    def lower(self) -> str:
        """The copy in small letters, character by character."""
        lower = self.text.lower()
        if len(lower) == len(self.text):
            return lower
        return "".join(small if len(small := char.lower()) == 1 else char for char in self.text)

    @cached_property
    def joined(self) -> str:
        """The copy with all letters, and a letter in the place of each mark, so that a word is one for `re`."""
        return self.text if self.spelled is self.text else _ANY_MARKS.sub(_as_letters, self.spelled)

    @cached_property
    def has_digit(self) -> bool:
        """Whether there is a digit."""
        return bool(_DIGIT.search(self.text))

    @cached_property
    def shape(self) -> str:
        """The copy with 9 for each digit and A for each letter of the Latin alphabet."""
        return self.text.translate(_SHAPE)

    def near(self, pattern: re.Pattern[str], words: tuple[str, ...], after: int = 120) -> Iterator[re.Match[str]]:
        """What a pattern finds that begins with one of some words.

        Args:
            words: In small letters; each counts at the beginning of a word.
            after: Characters behind its beginning in which the pattern may end.
        """
        for place in self._places(words):
            if match := pattern.match(self.text, place, place + after):
                yield match

    def _places(self, words: tuple[str, ...]) -> list[int]:
        if words not in self._found:
            places = set()
            for word in words:
                place = self.lower.find(word)
                while place >= 0:
                    if not place or not _is_plain_alnum(self.lower[place - 1]):
                        places.add(place)
                    place = self.lower.find(word, place + 1)
            self._found[words] = sorted(places)
        return self._found[words]

    def original(self, span: Span) -> Span:
        """A span of the copy in the text."""
        if self.places is None:
            return span
        start, end = span
        return self.places[start], self.places[end - 1] + 1


def _is_plain_alnum(char: str) -> bool:
    return char.isascii() and char.isalnum()


def normalise(text: str) -> Normalised:
    """The plain copy of a text."""
    if text.isascii():
        return Normalised(text, text, text)
    spelled = plain = text.translate(plain_characters())
    if goes_beyond_latin(text):
        plain = _BESIDE.sub(_parted, text).translate(plain_characters())
    if not _invisible_pattern().search(spelled):
        return Normalised(plain, spelled, text)
    kept = [place for place, char in enumerate(spelled) if char not in invisible_characters()]
    is_one = plain is spelled
    spelled = "".join([spelled[place] for place in kept])
    plain = spelled if is_one else "".join([plain[place] for place in kept])
    return Normalised(plain, spelled, "".join([text[place] for place in kept]), [*kept, len(text)])


def _parted(found: regex.Match[str]) -> str:
    if found["sign"]:
        return _ENDS[found["sign"]]
    return (SIGN if found["uncased"] else _LETTER) * len(found[0])


def _as_letters(found: regex.Match[str]) -> str:
    return _LETTER * len(found[0])


@cache
def plain_characters() -> dict[int, str]:
    """Each character that has a plain form of one character, and that form."""
    table: dict[int, str] = {}
    for number in range(0x80, _LAST):
        char = chr(number)
        category = unicodedata.category(char)
        if category == "Nd":
            table[number] = str(unicodedata.decimal(char))
        elif category == "Zs":
            table[number] = " "
        elif category == "Pd" or char in _DASHES:
            table[number] = "-"
        elif char in _DOTS:
            table[number] = "."
        elif char in _SLASHES:
            table[number] = "/"
        elif char in _APOSTROPHES:
            table[number] = "'"
        elif category[0] in "LPS" and number > 0xFF:  # full-width and mathematical letters and signs
            form = unicodedata.normalize("NFKC", char)
            if form != char and len(form) == 1 and form.isascii() and form.isprintable():
                table[number] = form
    return table


@cache
def invisible_characters() -> frozenset[str]:
    """Characters of no width, which part what belongs together."""
    chars = map(chr, range(0x80, sys.maxunicode + 1))
    return frozenset(char for char in chars if unicodedata.category(char) == "Cf") | frozenset(_INVISIBLE)


@cache
def _invisible_pattern() -> re.Pattern[str]:
    return re.compile(f"[{''.join(sorted(invisible_characters()))}]")
