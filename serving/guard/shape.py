"""Limits on what a JSON body is made of, read off its bytes before anything is built of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

# A text that does not end goes to the end of the body.
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes(1 if byte in b"[{" else 255 for byte in range(256))  # 255 is -1 as a signed byte


@dataclass(frozen=True)
class ShapeLimit:
    """How deep a body may be nested, and how many values it may hold.

    A body of a megabyte that is nested a million times, or holds a hundred thousand fields, is short, and would keep
    the parser and the sentences about it busy for seconds.

    Attributes:
        max_depth: Lists and objects within each other.
        max_values: Values, with those within lists and objects.
    """

    max_depth: int
    max_values: int

    def find_fault(self, body: bytes) -> str | None:
        """What is too much, with the rule; None of a body that may be parsed. Linear in the body's length.

        Args:
            body: JSON or not: what is no JSON is for the parser to say.
        """
        n_opened, n_values = body.count(b"[") + body.count(b"{"), body.count(b",") + 1
        if n_opened <= self.max_depth and n_values <= self.max_values:
            return None  # whatever of it stands in texts
        bare = _TEXTS.sub(b"", body)
        n_values = bare.count(b",") + 1
        if n_values > self.max_values:
            return f"it has {n_values} values, expected at most {self.max_values}"
        steps = np.frombuffer(bare.translate(_STEPS, _NO_BRACKETS), dtype=np.int8)
        depth = int(np.cumsum(steps, dtype=np.int64).max(initial=0))
        return f"it is nested {depth} deep, expected at most {self.max_depth}" if depth > self.max_depth else None
