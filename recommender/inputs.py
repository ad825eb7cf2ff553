"""From users to the tensor that the sequence model reads: the one function for training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recommender.ids import PADDING, IdMap
from recommender.user import UserState


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
