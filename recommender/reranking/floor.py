"""The floor: so many places of a list, at least, for what is rarely shown; the order stays as it is otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Floor:
    """Places of a list, at least, for items that are marked.

    Attributes:
        marked: Shape (n,), bool: of whatever the list's entries are places of.
        least: How many.
    """

    marked: np.ndarray
    least: int

    def count(self, entries: Sequence[int]) -> int:
        """How many entries are marked."""
        return int(self.marked[list(entries)].sum())

    def holds(self, entries: Sequence[int]) -> bool:
        """Whether there are enough."""
        return self.count(entries) >= self.least


def places_of(share: float, k: int) -> int:
    """How many of k places a share is, rounded up; a rounding error of the product does not count as a place.

    >>> places_of(0.25, 10), places_of(0.2, 10), places_of(0.0, 10)
    (3, 2, 0)
    """
    return math.ceil(round(share * k, 9))


def raise_to_floor(entries: Sequence[int], rest: Sequence[int], floor: Floor, kept: Sequence[Floor] = ()) -> list[int]:
    """Replace the last entries that are not marked by the first of the rest that are, until there are enough.

    Args:
        entries: The list, best first.
        rest: What may come in, best first; none of it is in the list.
        kept: Floors that stay met where they are met.
    Returns:
        A list of the same length; below the floor still where nothing else may come in, or go.

    >>> raise_to_floor([0, 1, 2], [3, 4], Floor(np.array([False, False, False, False, True]), 1))
    [0, 1, 4]
    """
    found = list(entries)
    for new in (entry for entry in rest if floor.marked[entry]):
        if floor.holds(found):
            break
        goes = next((place for place in reversed(range(len(found))) if _may_go(found, place, new, floor, kept)), None)
        if goes is not None:
            del found[goes]
            found.append(new)
    return found


def _may_go(entries: Sequence[int], place: int, new: int, floor: Floor, kept: Sequence[Floor]) -> bool:
    """Whether an entry may make room: it is not marked itself, and no other floor is missed without it."""
    old = entries[place]
    if floor.marked[old]:
        return False
    return all(other.marked[new] or not other.marked[old] or other.count(entries) > other.least for other in kept)
