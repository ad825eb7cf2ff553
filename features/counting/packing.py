"""Rows of whole numbers as one block of bytes: numpy reads thousands of them in the time JSON takes for a dozen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.counting.streams import Array

_NUMBER = np.dtype("<i8")


def pack(numbers: Sequence[int], lists: Sequence[Sequence[int]]) -> bytes:
    """Some numbers, then lists of one length, laid end to end as little-endian int64."""
    parts = [np.array(numbers, dtype=_NUMBER), *(np.array(values, dtype=_NUMBER) for values in lists)]
    return b"".join(part.tobytes() for part in parts)


def unpack(data: bytes, n_numbers: int, n_lists: int) -> tuple[Array, Array]:
    """What `pack` made.

    Returns:
        The numbers, shape (n_numbers,), and the lists, shape (n_lists, length).
    """
    values = np.frombuffer(data, dtype=_NUMBER)
    return values[:n_numbers], values[n_numbers:].reshape(n_lists, -1)
