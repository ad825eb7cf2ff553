"""One person's id, and how it is told from other text: as a value, and as a word within text of any escaping.

An id such as `7` means something else nearly everywhere. One that is short, or a small number, counts as the person
only where a field's name says so; a longer one wherever it stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import regex

from core.events import canonical_id
from core.words.escapes import alone, escaped, hints, is_distinct

FORGOTTEN = "forgotten"  # stands where the id stood
_ANY_BYTES = ("utf-8", "surrogateescape")
# A quotation mark in any escaping, and the name of a field before a short id.
_QUOTE = r"(?:\\*[\"']{1,2}|&(?:amp;)*(?:quot|apos|#34|#39|#x27);|\\+u002[27]|%(?:25)*2[27])?"
_FIELD = rf"(?i:users?(?:[_ ]?ids?)?){_QUOTE}\s*(?:[=:/ ]|%(?:25)*(?i:3a|3d|2f|20))\s*{_QUOTE}"
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
        return is_distinct(self.id)

    @cached_property
    def hints(self) -> tuple[str, ...]:
        """Strings one of which stands wherever the id does, however text is escaped."""
        return hints(self._written)

    @cached_property
    def most_bytes(self) -> int:
        """More bytes than the id takes in any escaping, with the name of a field before it."""
        return 64 + 32 * max(len(one.encode()) for one in self._written)

    @cached_property
    def _written(self) -> tuple[str, ...]:
        # The longest first: a pattern takes the first that fits.
        return tuple(sorted(filter(None, {self.id, self._given}), key=lambda one: (-len(one), one)))

    @cached_property
    def _pattern(self) -> regex.Pattern[str]:
        words = f"(?P<id>{'|'.join(map(escaped, self._written))})"
        return regex.compile(words if self.is_distinct else _FIELD + words, regex.V1)

    def is_value(self, value: Any) -> bool:
        """Whether a value is the id, however it is written."""
        return isinstance(value, str) and canonical_id(value) == self.id

    def in_text(self, text: str) -> bool:
        """Whether text names the person."""
        return any(one in text for one in self.hints) and any(True for _ in alone(self._pattern, text))

    def in_bytes(self, content: bytes, *, is_first: bool = True, is_last: bool = True) -> bool:
        """Whether bytes, text or not, name the person.

        Args:
            content: Whole, or a piece of a longer one: see `blot`.
        """
        if not any(one.encode() in content for one in self.hints):
            return False
        within = self._within(content, is_first=is_first, is_last=is_last)
        return any(True for _ in alone(self._pattern, _as_text(content), within))

    def redact(self, text: str) -> str:
        """The text with another word in the id's place."""
        return self._replaced(text, lambda _: FORGOTTEN)

    def blot(self, content: bytes, *, is_first: bool = True, is_last: bool = True) -> bytes:
        """Bytes of the same length, in which the id is blotted out.

        Args:
            content: Whole, or a piece of a longer one. What stands within `most_bytes` of where a piece was cut may go
                on beyond, so it is left to the piece that shows it whole: neighbours overlap by four times that.
            is_first: It begins where the whole begins.
            is_last: It ends where the whole ends.
        """
        if not any(one.encode() in content for one in self.hints):
            return content
        within = self._within(content, is_first=is_first, is_last=is_last)
        return _as_bytes(self._replaced(_as_text(content), lambda found: "*" * len(_as_bytes(found)), within))

    def _within(self, content: bytes, *, is_first: bool, is_last: bool) -> tuple[int, int] | None:
        """Between which characters an id is told from the beginning or end of another one."""
        if is_first and is_last:
            return None
        first = 0 if is_first else len(_as_text(content[: self.most_bytes]))
        last = len(content) if is_last else len(_as_text(content[: -self.most_bytes]))
        return first, last

    def _replaced(self, text: str, instead: Callable[[str], str], within: tuple[int, int] | None = None) -> str:
        pieces, done = [], 0
        for start, end in alone(self._pattern, text, within):
            pieces += [text[done:start], instead(text[start:end])]
            done = end
        return "".join((*pieces, text[done:]))

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


def _as_text(content: bytes) -> str:
    """Bytes as text, from which they can be made again; those that are none are no letters."""
    return content.decode(*_ANY_BYTES)


def _as_bytes(text: str) -> bytes:
    return text.encode(*_ANY_BYTES)
