"""Histories as sequences of item indices: the one way for training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from core import schema
from recommender.errors import TrainingDataError
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.ids import PADDING, IdMap
from recommender.inputs.user import UserState


def sequence_input(users: Sequence[UserState], ids: IdMap, max_history: int) -> torch.Tensor:
    """The users' histories as item indices, left-padded to the longest of them and no further.

    Items that the model does not know are left out, then the newest `max_history` are taken.

    Returns:
        Item indices, oldest first. Shape (B, T), int64, 0 is padding, 1 <= T <= max_history: a batch of cold users
        is one column of padding.
    """
    histories = [ids.known_indices(user.items)[-max_history:] for user in users]
    longest = max((len(history) for history in histories), default=0)
    rows = [[PADDING] * (max(longest, 1) - len(history)) + history for history in histories]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(users), max(longest, 1))


def read_sequences(training: Path, ids: IdMap, max_length: int) -> list[torch.Tensor]:
    """The training sequences as item indices, each shape (T,), int64, 2 <= T <= max_length; shorter ones teach nothing.

    Raises:
        TrainingDataError: the table is missing or damaged, or no sequence has two known items.
    """
    histories = read_training_table(training, "sequences", [schema.HISTORY_ITEMS]).column(0).to_pylist()
    users = [UserState.from_history(history or []) for history in histories]
    rows = [sequence_input([user], ids, max_length)[0] for user in users]
    sequences = [row for row in rows if len(row) >= 2]
    if not sequences:
        raise TrainingDataError(
            "Cannot train sequence model",
            got=f"sequences with two known items=0 of {len(rows)}",
            expected="at least 1",
            where=str(training),
            do="Give more interactions per user",
        )
    return sequences


def read_user_items(training: Path, ids: IdMap) -> list[np.ndarray]:
    """What each user had before the cut-off, as item indices; a history may lie in several pieces.

    Raises:
        TrainingDataError: the table is missing or damaged.
    """
    table = read_training_table(training, "sequences", [schema.USER_ID, schema.HISTORY_ITEMS])
    by_user: dict[str, list[int]] = {}
    users, histories = (table.column(name).to_pylist() for name in (schema.USER_ID, schema.HISTORY_ITEMS))
    for user, history in zip(users, histories, strict=True):
        by_user.setdefault(user, []).extend(ids.known_indices(history or []))
    return [np.array(sorted(set(known)), dtype=np.int64) for known in by_user.values()]
