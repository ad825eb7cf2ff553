"""What a user has seen, at any length: a 64-bit key per item, so that thousands are read and masked at once.

A list of ids costs a request what it takes to parse them and to look each one up; sorted keys are one block of bytes,
found in a table of the catalogue's keys all at once. Of a million items two share a key with a chance of 1 in 40
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


class KeyTable:
    """Finds thousands of keys among those of a catalogue at once.

    A table by the keys' first bits, four places per item, holds one item each; the few whose place another one has are
    found by bisection. Sorted keys walk through the table in its order, so a large catalogue is no slower.
    """

    def __init__(self, keys: np.ndarray) -> None:
        bits = max((4 * len(keys)).bit_length(), 1)
        self._keys, self._shift, self._offset = keys, 64 - bits, 1 << (bits - 1)
        numbers = np.arange(len(keys))
        slot = self._slot(keys)
        self._table = np.full(1 << bits, -1, dtype=np.int32)
        self._table[slot] = numbers
        others = np.flatnonzero(self._table[slot] != numbers)
        self._others = others[np.argsort(keys[others], kind="stable")]
        self._other_keys = keys[self._others]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Where those of the keys that are known stand, in no order. Shape (at most N,), int64."""
        if not len(self._keys):
            return np.zeros(0, dtype=np.int64)
        # An empty place says -1, the last key, whose own place is not empty.
        candidate = self._table[self._slot(keys)]
        hit = self._keys[candidate] == keys
        rest = keys[~hit]
        if not len(rest) or not len(self._others):
            return candidate[hit].astype(np.int64)
        place = np.minimum(np.searchsorted(self._other_keys, rest), len(self._others) - 1)
        return np.concatenate([candidate[hit], self._others[place[self._other_keys[place] == rest]]])

    def _slot(self, keys: np.ndarray) -> np.ndarray:
        slot: np.ndarray = (keys >> self._shift) + self._offset
        return slot
