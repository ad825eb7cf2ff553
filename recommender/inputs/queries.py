"""The queries that a ranking is evaluated on: a user as the window opened, and the new items that they then took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import schema
from core.schema import Split
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.user import UserState


@dataclass(frozen=True)
class Queries:
    """Users and their targets, row by row; every row has at least one target. `user_ids` may be left out."""

    users: tuple[UserState, ...]
    targets: tuple[tuple[str, ...], ...]
    user_ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_targets(self) -> np.ndarray:
        """Shape (n,), int64."""
        return np.array([len(targets) for targets in self.targets], dtype=np.int64)

    @property
    def is_warm(self) -> np.ndarray:
        """Who has a history. Shape (n,), bool."""
        return np.array([not user.is_cold for user in self.users], dtype=bool)

    def take(self, places: np.ndarray) -> Queries:
        """The queries at these places."""
        return Queries(
            tuple(self.users[p] for p in places),
            tuple(self.targets[p] for p in places),
            tuple(self.user_ids[p] for p in places) if self.user_ids else (),
        )


def read_queries(training: Path, split: Split) -> Queries:
    """Read the queries of one window; those without targets are left out, for nothing can be hit there.

    Raises:
        TrainingDataError: the table is missing or not as the contract has it.
    """
    rows = read_training_table(training, "queries").to_pylist()
    kept = [row for row in rows if row[schema.SPLIT] == split and row[schema.TARGETS]]
    return Queries(
        users=tuple(UserState.from_row(row) for row in kept),
        targets=tuple(tuple(dict.fromkeys(row[schema.TARGETS])) for row in kept),
        user_ids=tuple(row[schema.USER_ID] for row in kept),
    )
