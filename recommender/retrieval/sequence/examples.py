"""What the sequence model learns from: every prefix of a training sequence, and the item that comes next."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from recommender.fitting.context import FitContext
from recommender.fitting.device import moved
from recommender.inputs.batching import shuffled_by_length
from recommender.inputs.ids import IdMap
from recommender.inputs.packing import Packed, pack_slices
from recommender.inputs.sequences import TrainingSequence, read_sequences, read_sequences_since


@dataclass(frozen=True)
class NextItems:
    """A batch: what was read, and what came next.

    Attributes:
        history: Of B prefixes.
        targets: The item after each of them. Shape (B,), int64.
    """

    history: Packed
    targets: torch.Tensor

    def to(self, device: torch.device) -> NextItems:
        """The same on a device."""
        return NextItems(moved(self.history, device), self.targets.to(device))


@dataclass(frozen=True)
class Learnable:
    """What a fit learns from: all sequences, or what is new in them and, beside it, a sample of what is older.

    Attributes:
        sequences: All of them, or what is new; where none is, the fit learns nothing.
        older: What is sampled for each epoch; empty where all is learned.
        n_replayed: Next items of the sample.
    """

    sequences: list[TrainingSequence]
    older: list[TrainingSequence] = field(default_factory=list)
    n_replayed: int = 0

    @classmethod
    def read(cls, fit: FitContext, ids: IdMap, max_length: int) -> Learnable:
        """Of a training set: what is new since the weights that the fit starts from, where it starts from some.

        Raises:
            TrainingDataError: no sequence has two known items, or nothing says what is new.
        """
        if fit.start is None:
            return cls(read_sequences(fit.training, ids, max_length))
        new, older = read_sequences_since(fit.training, ids, max_length, fit.start.since)
        n_new, n_older = n_targets(new), n_targets(older)
        replayed = min(fit.start.n_replayed(n_new), n_older)
        fit.work("next items", new=n_new, replayed=replayed, full=n_new + n_older)
        return cls(new, older, replayed)

    @property
    def all(self) -> list[TrainingSequence]:
        """What is new and what is older."""
        return [*self.sequences, *self.older]

    def replay(self, permute: Callable[[int], np.ndarray]) -> list[TrainingSequence]:
        """Older sequences in random order, as many as have `n_replayed` next items.

        Args:
            permute: From n to the numbers below n in random order.
        """
        if not self.n_replayed:
            return []
        order = permute(len(self.older))
        until = np.cumsum([len(self.older[place]) - self.older[place].first_target for place in order])
        return [self.older[place] for place in order[: int(np.searchsorted(until, self.n_replayed)) + 1]]


def n_targets(sequences: Sequence[TrainingSequence]) -> int:
    """Next items that are predicted of some sequences."""
    return sum(len(sequence) - sequence.first_target for sequence in sequences)


class Examples:
    """Every prefix of some sequences that an item follows, each an example of its own: its newest item stands at the
    place that it has in an answer.

    Args:
        sequences: Each with a target behind another item; what is context is read and never predicted.
    """

    def __init__(self, sequences: Sequence[TrainingSequence]) -> None:
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        n_targets = torch.tensor([len(sequence) - sequence.first_target for sequence in sequences])
        self._items = torch.cat([sequence.items for sequence in sequences])
        self._starts = torch.repeat_interleave(lengths.cumsum(0) - lengths, n_targets)
        self._lengths = torch.cat([torch.arange(one.first_target, len(one)) for one in sequences])

    def __len__(self) -> int:
        return len(self._lengths)

    def drawn(self, n_items: int, permute: Callable[[int], np.ndarray]) -> Examples:
        """All of them, or where they have more items together than `n_items`, a random part that has about as many.

        Args:
            permute: From n to the numbers below n in random order.
        """
        if int(self._lengths.sum()) <= n_items:
            return self
        rows = torch.from_numpy(permute(len(self)))
        part = copy.copy(self)
        rows = rows[: max(int((self._lengths[rows].cumsum(0) <= n_items).sum()), 1)]
        part._starts, part._lengths = self._starts[rows], self._lengths[rows]
        return part

    def of(self, rows: list[int]) -> NextItems:
        """The examples of some rows."""
        starts, lengths = self._starts[rows], self._lengths[rows]
        return NextItems(pack_slices(self._items, starts, lengths), self._items[starts + lengths])

    def batches(self, size: int, permute: Callable[[int], np.ndarray]) -> Iterator[NextItems]:
        """Every example once, in random order, but such that those of a batch are about equally long.

        Attention runs over the sequences of one length at once, so that few lengths in a batch are few runs.

        Args:
            permute: From n to the numbers below n in random order.
        """
        for rows in shuffled_by_length(self._lengths.tolist(), size, permute):
            yield self.of(rows)
