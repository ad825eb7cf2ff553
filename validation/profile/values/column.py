"""A column as counts: how many values, how many different ones, numbers, lengths, and the commonest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from validation.profile.values.words import INDEX_NAMES

_HASH = re.compile(r"[0-9a-f]{16,}|[0-9a-f-]{32,}|https?://\S+", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """Counts over the rows of an extract.

    Attributes:
        n_given: Rows with a value; null words do not count.
        n_distinct: Different values.
        share_whole, share_numbers: Of the values, those that are whole numbers, and numbers at all.
        mean_chars: Mean length.
        common: The commonest values with their counts; all of them where there are at most 300.
        samples: Up to 2000 values, evenly from top to bottom, in the order of the file.
    """

    name: str
    n_rows: int
    n_given: int
    n_distinct: int
    share_whole: float
    share_numbers: float
    mean_chars: float
    share_spaced: float
    common: tuple[tuple[str, int], ...]
    samples: tuple[str, ...]

    @property
    def share_given(self) -> float:
        return self.n_given / max(1, self.n_rows)

    @property
    def is_unique(self) -> bool:
        return self.n_given > 0 and self.n_distinct == self.n_given

    @property
    def is_constant(self) -> bool:
        return self.n_distinct <= 1

    @property
    def is_uninformative(self) -> bool:
        """Row numbers of a data frame, one value throughout, and hashes or URLs that never repeat."""
        if self.n_given == 0 or is_index(self):
            return True
        if self.n_rows > 1 and self.is_constant and self.share_given == 1.0:
            return True
        return self.n_rows > 1 and self.is_unique and all(_HASH.fullmatch(value) for value in self.samples[:50])


def is_index(column: Column) -> bool:
    """Whether a data frame wrote its row numbers here."""
    named = INDEX_NAMES.fullmatch(column.name.strip()) is not None
    return named and (column.n_given == 0 or (column.is_unique and column.share_whole == 1.0))


def id_like(columns: Iterable[Column]) -> list[Column]:
    """Columns whose values may be ids: short, without spaces, some of them repeated."""
    return [
        column
        for column in columns
        if not column.is_uninformative
        and column.mean_chars <= 60
        and column.share_spaced < 0.2
        and not (column.is_constant or column.is_unique)
    ]
