"""Histories as sequences of item indices: the one way for training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from core import schema
from recommender.errors import TrainingDataError
from recommender.inputs.catalogue import read_training_table
from recommender.inputs.ids import PADDING, IdMap
from recommender.inputs.user import UserState

# Rows that are looked at together: mostly the first one says all.
_CHECKED_AT_ONCE = 1024


@dataclass(frozen=True)
class TrainingSequence:
    """A training sequence as item indices.

    Attributes:
        items: Oldest first, each once. Shape (T,), int64.
        n_context: How many of them, from the first on, are read and never predicted: they had been touched before, and
            stand as they stood when the next one was touched for the first time.
    """

    items: torch.Tensor
    n_context: int = 0

    def __len__(self) -> int:
        return len(self.items)

    @property
    def first_target(self) -> int:
        """The place of the first item that is predicted from something: the very first one never is."""
        return max(self.n_context, 1)

    @property
    def targets(self) -> torch.Tensor:
        """The items that are not context: those whose first touch this sequence holds."""
        return self.items[self.n_context :]

    def stretch(self, start: int, stop: int) -> TrainingSequence:
        """The entries from one place up to another."""
        return TrainingSequence(self.items[start:stop], min(max(self.n_context - start, 0), max(stop - start, 0)))

    def where(self, kept: torch.Tensor) -> TrainingSequence:
        """Some of the entries. `kept` is of shape (T,), bool."""
        return TrainingSequence(self.items[kept], int(kept[: self.n_context].sum()))


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


def read_sequences(training: Path, ids: IdMap, max_length: int) -> list[TrainingSequence]:
    """The training sequences, each with a target behind another item; others teach nothing.

    Args:
        max_length: Of a sequence; of a longer one the newest entries are taken.
    Raises:
        TrainingDataError: the table is missing or damaged, or no sequence has two known items.
    """
    table = read_training_table(training, "sequences", [schema.HISTORY_ITEMS, schema.N_CONTEXT])
    rows = zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True)
    read = [_newest(_known(history or [], n_context or 0, ids), max_length) for history, n_context in rows]
    sequences = _with_target(read)
    if not sequences:
        raise _nothing_to_learn(training, len(read))
    return sequences


def check_sequences(training: Path, max_length: int) -> None:
    """Make sure that there is a sequence to learn from, of the items of the catalogue; the first one is enough.

    Args:
        max_length: As for `read_sequences`.
    Raises:
        TrainingDataError: as `read_sequences` does.
    """
    table = read_training_table(training, "sequences", [schema.HISTORY_ITEMS, schema.N_CONTEXT])
    ids = IdMap(tuple(read_training_table(training, "catalogue", [schema.ITEM_ID]).column(0).to_pylist()))
    for batch in table.to_batches(max_chunksize=_CHECKED_AT_ONCE):
        for history, n_context in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if _with_target([_newest(_known(history or [], n_context or 0, ids), max_length)]):
                return
    raise _nothing_to_learn(training, len(table))


def read_sequences_since(
    training: Path, ids: IdMap, max_length: int, since: datetime
) -> tuple[list[TrainingSequence], list[TrainingSequence]]:
    """The training sequences in two parts: what was touched first since a moment, and what before it.

    A sequence that holds both is in both: what is new is predicted behind all that came before it, which is context.

    Args:
        max_length: As for `read_sequences`.
    Returns:
        What is new, and what is older; each with a target behind another item.
    Raises:
        TrainingDataError: the table is missing or damaged, does not say when items were touched, or no sequence has two
            known items.
    """
    table = read_training_table(training, "sequences", [schema.HISTORY_ITEMS, schema.N_CONTEXT, schema.TARGET_TIMES])
    moment = round(since.timestamp() * 1e6)
    new, older = [], []
    for history, n_context, times in zip(*(column.to_pylist() for column in table.columns), strict=True):
        sequence = _known(history or [], n_context or 0, ids)
        following = (history or [])[n_context or 0 :]
        if times is None or len(times) != len(following):
            raise TrainingDataError(
                "Cannot tell what is new in the sequences",
                got=f"{schema.TARGET_TIMES}={times}",
                expected=f"a time for each of {len(following)} items",
                where=str(training),
                do="Build the training set again",
            )
        n_before = sum(time < moment and item in ids for item, time in zip(following, times, strict=True))
        place = sequence.n_context + n_before
        new.append(_newest(TrainingSequence(sequence.items, place), max_length))
        older.append(_newest(TrainingSequence(sequence.items[:place], sequence.n_context), max_length))
    new, older = _with_target(new), _with_target(older)
    if not (new or older):
        raise _nothing_to_learn(training, len(table))
    return new, older


def _nothing_to_learn(training: Path, n_read: int) -> TrainingDataError:
    return TrainingDataError(
        "Cannot train on sequences",
        got=f"sequences with two known items=0 of {n_read}",
        expected="at least 1",
        where=str(training),
        do="Give more interactions per user",
    )


def _with_target(sequences: list[TrainingSequence]) -> list[TrainingSequence]:
    return [sequence for sequence in sequences if sequence.first_target < len(sequence)]


def _known(history: Sequence[str], n_context: int, ids: IdMap) -> TrainingSequence:
    """A row of the table without the items that the model does not know."""
    context, following = (ids.known_indices(items) for items in (history[:n_context], history[n_context:]))
    return TrainingSequence(torch.tensor(context + following, dtype=torch.int64), len(context))


def _newest(sequence: TrainingSequence, n: int) -> TrainingSequence:
    return sequence.stretch(max(len(sequence) - n, 0), len(sequence))


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
