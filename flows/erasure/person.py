"""One person's id, and how it is told from other text: as a value, and as a word within text of any escaping.

An id such as `7` means something else nearly everywhere. One that is short, or a small number, counts as the person
only where a field's name says so; a longer one wherever it stands alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus

import regex

from core.events import canonical_id
from core.languages import as_a_word

FORGOTTEN = "forgotten"  # stands where the id stood
_MIN_CHARS, _MIN_DIGITS = 5, 8
_USER_FIELD = re.compile(r"user|customer|reviewer|visitor|person|member", re.IGNORECASE)


class Person:
    """Tells the id of one person.

    Args:
        user_id: However it is written.
    """

    def __init__(self, user_id: str) -> None:
        self.id = canonical_id(user_id)
        self._given = user_id

    @cached_property
    def is_distinct(self) -> bool:
        """Whether the id is like nothing else, so that it means the person wherever it stands."""
        return len(self.id) >= (_MIN_DIGITS if self.id.isdecimal() else _MIN_CHARS)

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """The id as text holds it: plain, and escaped for JSON (twice too), HTML, URLs and Python."""
        plain = dict.fromkeys((self.id, self._given))
        found: dict[str, None] = {}
        for one in plain:
            for text in (one, _json(one), _json(one, ascii_only=False)):
                found |= dict.fromkeys((text, _json(text), escape(text), escape(text, quote=False)))
            found |= dict.fromkeys((quote(one, safe=""), quote(one), quote_plus(one), repr(one)[1:-1]))
        # The longest first: a pattern takes the first that fits.
        return tuple(sorted(filter(None, found), key=len, reverse=True))

    @cached_property
    def _pattern(self) -> regex.Pattern[str]:
        return regex.compile(_named("|".join(map(as_a_word, self.spellings)), self.is_distinct), regex.V1)

    @cached_property
    def _bytes_pattern(self) -> re.Pattern[bytes]:
        return re.compile(_named(_among_bytes(self.spellings), self.is_distinct).encode())

    def is_value(self, value: Any) -> bool:
        """Whether a value is the id, however it is written."""
        return isinstance(value, str) and canonical_id(value) == self.id

    def in_text(self, text: str) -> bool:
        """Whether text names the person."""
        return any(one in text for one in self.spellings) and self._pattern.search(text) is not None

    def in_bytes(self, content: bytes) -> bool:
        """Whether bytes, text or not, name the person."""
        return any(one.encode() in content for one in self.spellings) and (
            self._bytes_pattern.search(content) is not None
        )

    def redact(self, text: str) -> str:
        """The text with another word in the id's place."""
        return self._pattern.sub(lambda found: found[0].replace(_longest(found[0], self.spellings), FORGOTTEN), text)

    def blot(self, content: bytes) -> bytes:
        """Bytes of the same length, in which the id is blotted out."""

        def blotted(found: re.Match[bytes]) -> bytes:
            inside = _longest(found[0].decode(errors="replace"), self.spellings).encode()
            return found[0].replace(inside, b"*" * len(inside))

        return self._bytes_pattern.sub(blotted, content)

    def in_json(self, value: Any, field: str = "") -> bool:
        """Whether parsed JSON names the person, in a key, a value, or a word of one.

        Args:
            field: The key that the value stands under.
        """
        if isinstance(value, dict):
            return any(self.in_json(key, field) or self.in_json(inner, str(key)) for key, inner in value.items())
        if isinstance(value, list):
            return any(self.in_json(inner, field) for inner in value)
        return isinstance(value, str) and (self._is_meant(value, field) or self.in_text(value))

    def redact_json(self, value: Any, field: str = "") -> Any:
        """Parsed JSON with another word in the id's place."""
        if isinstance(value, dict):
            return {self.redact_json(key, field): self.redact_json(one, str(key)) for key, one in value.items()}
        if isinstance(value, list):
            return [self.redact_json(inner, field) for inner in value]
        if not isinstance(value, str):
            return value
        return FORGOTTEN if self._is_meant(value, field) else self.redact(value)

    def _is_meant(self, value: str, field: str) -> bool:
        return self.is_value(value) and (self.is_distinct or bool(_USER_FIELD.search(field)))


def _json(text: str, *, ascii_only: bool = True) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _among_bytes(spellings: Iterable[str]) -> str:
    """A pattern of the id with no letter or digit of ASCII beside it: of others, bytes do not say what they are."""
    return "|".join(
        (r"(?<![^\W_])" if one[0].isalnum() else "") + re.escape(one) + (r"(?![^\W_])" if one[-1].isalnum() else "")
        for one in spellings
    )


def _named(words: str, is_distinct: bool) -> str:
    """A pattern of the id as a word; of a short one, behind the name of a field."""
    if is_distinct:
        return words
    return rf"(?i:users?(?:[_ ]?ids?)?)\\*[\"']?\s*[=:/ ]\s*\\*[\"']?(?:{words})"


def _longest(text: str, spellings: Iterable[str]) -> str:
    return next(one for one in spellings if one in text)
