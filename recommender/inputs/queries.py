"""The queries that a ranking is evaluated on: a user as the window opened, and the new items that they then took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from core import schema
from core.schema import Window
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.item_moments import read_items_then
from recommender.inputs.user import UserState

# Why only so many are asked, as a cap says it.
A_SAMPLE = "a sample that is enough for a steady figure"
# That each part of a ranker makes at once, 32 MiB of them: of a large catalogue fewer users are asked in a pass.
SCORES_PER_PASS = 1 << 23
USERS_PER_PASS = 256
_LISTS = ("top_categories", "category_shares", "top_brands", "brand_shares")


@dataclass(frozen=True)
class Queries:
    """Users and their targets, row by row. `user_ids` and `n_early` may be left out.

    Attributes:
        targets: Of each user at least one, in the order of the first touch.
        n_early: How many leading targets were touched before the later half of the window opened.
    """

    users: tuple[UserState, ...]
    targets: tuple[tuple[str, ...], ...]
    user_ids: tuple[str, ...] = ()
    n_early: tuple[int, ...] = ()

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
            tuple(self.n_early[p] for p in places) if self.n_early else (),
        )

    @property
    def early_targets(self) -> tuple[tuple[str, ...], ...]:
        """Of each user those of the window's earlier half; none where it has no halves."""
        numbers = self.n_early or (0,) * len(self)
        return tuple(targets[:n] for targets, n in zip(self.targets, numbers, strict=True))

    def passes(self, n_items: int, most: int = USERS_PER_PASS) -> Iterator[Queries]:
        """All of them in their order, as many at a time as `users_per_pass` says."""
        size = users_per_pass(n_items, most)
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


def users_per_pass(n_items: int, most: int = USERS_PER_PASS) -> int:
    """How many users are asked at once: what is held of their scores is bounded, up to one user's of a huge catalogue.

    Args:
        n_items: Of the catalogue.
        most: However small the catalogue is.
    """
    return max(1, min(most, SCORES_PER_PASS // max(n_items, 1)))


def sample_queries(
    queries: Queries, limit: int, seed: int | np.random.Generator, *, warm_only: bool = False
) -> Queries:
    """At most `limit` queries, in their order: as many as make a steady figure.

    Args:
        seed: Which ones are taken where there are more; a generator is drawn from only then.
        warm_only: Leave out users without a history first.
    """
    places = np.flatnonzero(queries.is_warm) if warm_only else np.arange(len(queries))
    return queries.take(sample_places(places, limit, seed))


def sample_places(places: np.ndarray, limit: int, seed: int | np.random.Generator) -> np.ndarray:
    """At most `limit` of these places, ascending where some are left out. Shape (N,) -> (at most limit,), integers."""
    if len(places) <= limit:
        return places
    return np.sort(np.random.default_rng(seed).choice(places, limit, replace=False))


def read_queries(training: Path, window: Window) -> Queries:
    """Read the queries of one window; those without targets are left out, for nothing can be hit there.

    Raises:
        TrainingDataError: the table is missing or not as the contract has it.
    """
    table, items_then = read_training_table(training, "queries"), read_items_then(training, window)
    of_window = table.filter(pc.equal(table.column(schema.SPLIT), window)).to_pylist()
    kept = [row for row in of_window if row[schema.TARGETS]]
    return Queries(
        users=tuple(
            replace(UserState.from_row(row), features=features_of_row(row), items_then=items_then) for row in kept
        ),
        targets=tuple(tuple(dict.fromkeys(row[schema.TARGETS])) for row in kept),
        user_ids=tuple(row[schema.USER_ID] for row in kept),
        n_early=tuple(row[schema.N_EARLY_TARGETS] or 0 for row in kept),
    )


def features_of_row(row: dict[str, Any]) -> dict[str, Any]:
    """The features of a row of queries, as serving has them: lists as tuples, None without a value."""
    return {name: tuple(row[name] or ()) if name in _LISTS else row[name] for name in schema.USER_FEATURES}
