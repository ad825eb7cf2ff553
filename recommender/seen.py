"""What a user has seen, at any length: a 64-bit key per item, so that thousands are read and masked at once.

A list of ids costs a request what it takes to parse them and to look each one up; sorted keys are one block of bytes,
found in the sorted keys of the catalogue by one bisection. Of a million items two share a key with a chance of 1 in 40
million; then the one is masked with the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

KEY = np.dtype("<i8")


def item_key(item_id: str) -> int:
    """The key of an item: 64 bits of its id's BLAKE2, signed."""
    digest = hashlib.blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def item_keys(item_ids: Iterable[str]) -> np.ndarray:
    """The keys of items, in their order. Shape (N,), int64."""
    return np.fromiter((item_key(item_id) for item_id in item_ids), dtype=KEY)


@dataclass(frozen=True)
class SeenItems:
    """A set of items by their keys. Equal sets are equal, and of equal bytes.

    Attributes:
        data: The keys, ascending, little-endian int64.
    """

    data: bytes = b""

    @classmethod
    def of_keys(cls, keys: Iterable[int] | np.ndarray) -> SeenItems:
        """From keys in any order."""
        given = keys if isinstance(keys, np.ndarray) else np.fromiter(keys, dtype=KEY)
        return cls(np.unique(given.astype(KEY, copy=False)).tobytes())

    @classmethod
    def of_items(cls, item_ids: Iterable[str]) -> SeenItems:
        """From item ids."""
        return cls.of_keys(item_keys(item_ids))

    @property
    def keys(self) -> np.ndarray:
        """The keys, ascending. Shape (N,), int64."""
        return np.frombuffer(self.data, dtype=KEY)

    def __len__(self) -> int:
        return len(self.data) // KEY.itemsize
