"""Ids that sort by the time at which they were given: UUIDs of version 7 (RFC 9562)."""

from __future__ import annotations

import os
import time
from uuid import UUID

_RANDOM_BITS = 80


def time_ordered_id() -> str:
    """A new id: 48 bits of Unix time in milliseconds, then 74 random ones. Ids of one millisecond have no order."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << _RANDOM_BITS) | int.from_bytes(os.urandom(_RANDOM_BITS // 8), "big")
    number = (number & ~(0xF << 76)) | (0x7 << 76)  # the version
    number = (number & ~(0x3 << 62)) | (0x2 << 62)  # the variant
    return str(UUID(int=number))
