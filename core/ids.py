"""Ids that sort by the time at which they were given: UUIDs of version 7 (RFC 9562)."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from threading import Lock
from uuid import UUID

_PARTS_OF_A_MS = 4096
_NS_OF_A_MS = 1_000_000
_lock = Lock()
_last = 0


def time_ordered_id() -> str:
    """A new id: 48 bits of Unix time in milliseconds, 12 of parts of one, then 62 random ones.

    Those that one process is given are in order, also within a millisecond and where the clock was set back (RFC 9562,
    section 6.2, method 3).
    """
    milliseconds, part = divmod(_next_moment(), _PARTS_OF_A_MS)
    random = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    # The version, 7, and the variant, 2, stand where the standard has them. Written by hand: every request has some.
    digits = f"{(milliseconds << 80) | (0x7 << 76) | (part << 64) | (0x2 << 62) | random:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def moment_of_id(text: str) -> datetime | None:
    """When such an id was given, to the millisecond; None of a text that is none."""
    try:
        found = UUID(text)
        if found.version != 7:
            return None
        return datetime.fromtimestamp((found.int >> 80) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _next_moment() -> int:
    """Now, in parts of a millisecond; later than what was given before."""
    global _last  # noqa: PLW0603  (a process has one clock)
    with _lock:
        _last = max(time.time_ns() * _PARTS_OF_A_MS // _NS_OF_A_MS, _last + 1)
        return _last
