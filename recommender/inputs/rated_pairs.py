"""The rated pairs of a training set, as models read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.user import UserState

_COLUMNS = [
    schema.USER_ID,
    schema.ITEM_ID,
    schema.RATING,
    schema.SPLIT,
    schema.ITEM_TEXT,
    schema.HISTORY_ITEMS,
    schema.HISTORY_VALUES,
    schema.HISTORY_EVENTS,
    schema.MEAN_RATING,
    schema.N_RATINGS,
    schema.ITEM_MEAN_RATING,
    schema.ITEM_N_RATINGS,
]


@dataclass(frozen=True)
class RatedPairs:
    """Ratings of one window, each with the user and the item as they stood just before it.

    Attributes:
        user_ids: One per rating.
        users: One per rating.
        item_ids: One per rating.
        ratings: 1 to 5. Shape (N,), float32.
        item_means: Mean of the item's ratings before this one, NaN without any. Shape (N,), float32.
        item_counts: How many those are. Shape (N,), float32.
        item_texts: One per rating: the item's text without this user's words; None where it quotes none of them.
    """

    user_ids: tuple[str, ...]
    users: tuple[UserState, ...]
    item_ids: tuple[str, ...]
    ratings: np.ndarray
    item_means: np.ndarray
    item_counts: np.ndarray
    item_texts: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def read(cls, training: Path, split: schema.Split) -> RatedPairs:
        """Read the ratings of one window; there may be none.

        Raises:
            TrainingDataError: the table is missing, unreadable or lacks a column.
        """
        table = read_training_table(training, "pairs", _COLUMNS)
        table = table.filter(pc.equal(table.column(schema.SPLIT), split))
        return cls(
            user_ids=tuple(table.column(schema.USER_ID).to_pylist()),
            users=tuple(UserState.from_row(row) for batch in table.to_batches() for row in batch.to_pylist()),
            item_ids=tuple(table.column(schema.ITEM_ID).to_pylist()),
            ratings=_floats(table.column(schema.RATING)),
            item_means=_floats(table.column(schema.ITEM_MEAN_RATING)),
            item_counts=_floats(table.column(schema.ITEM_N_RATINGS)),
            item_texts=tuple(table.column(schema.ITEM_TEXT).to_pylist()),
        )

    @staticmethod
    def count(training: Path, split: schema.Split) -> int:
        """How many ratings one window has, without reading them.

        Raises:
            TrainingDataError: the table is missing, unreadable or lacks a column.
        """
        column = read_training_table(training, "pairs", [schema.SPLIT]).column(schema.SPLIT)
        return int(pc.sum(pc.equal(column, split)).as_py() or 0)

    def take(self, rows: np.ndarray) -> RatedPairs:
        """Some of the pairs, by place."""
        return RatedPairs(
            user_ids=tuple(self.user_ids[row] for row in rows),
            users=tuple(self.users[row] for row in rows),
            item_ids=tuple(self.item_ids[row] for row in rows),
            ratings=self.ratings[rows],
            item_means=self.item_means[rows],
            item_counts=self.item_counts[rows],
            item_texts=tuple(self.item_texts[row] for row in rows),
        )

    def join(self, others: RatedPairs) -> RatedPairs:
        """These and the others, in this order."""
        return RatedPairs(
            user_ids=self.user_ids + others.user_ids,
            users=self.users + others.users,
            item_ids=self.item_ids + others.item_ids,
            ratings=np.concatenate([self.ratings, others.ratings]),
            item_means=np.concatenate([self.item_means, others.item_means]),
            item_counts=np.concatenate([self.item_counts, others.item_counts]),
            item_texts=self.item_texts + others.item_texts,
        )


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.float32)
    return values
