"""Sequences laid end to end, those of a length next to each other: no arithmetic is done on padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from recommender.inputs.ids import PADDING


@dataclass(frozen=True)
class Packed:
    """B sequences of N items in all, shorter sequences first.

    Attributes:
        items: Item indices, each sequence oldest first. Shape (N,), int64.
        places: Counted from the sequence's newest item back, so that 0 is the newest. Shape (N,), int64.
        groups: (how many sequences, how long each of them is), in the order of `items`.
        order: Which of the given sequences stands at each rank. Shape (B,), int64.
    """

    items: torch.Tensor
    places: torch.Tensor
    groups: tuple[tuple[int, int], ...]
    order: torch.Tensor

    def as_given(self, rows: torch.Tensor) -> torch.Tensor:
        """What stands for each sequence, shape (B, D), put from this order into that of the given sequences."""
        return torch.empty_like(rows).index_copy(0, self.order, rows)


def pack(sequences: Sequence[torch.Tensor]) -> Packed:
    """Lay sequences end to end.

    Args:
        sequences: Item indices without padding, oldest first. Each shape (T,), int64, T >= 1.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
    order = torch.argsort(lengths, stable=True)
    items = torch.cat([sequences[place] for place in order.tolist()]) if len(sequences) else lengths
    return _packed(items, lengths, order)


def pack_rows(rows: torch.Tensor) -> Packed:
    """Lay the rows of a left-padded matrix end to end, without the padding.

    Args:
        rows: Item indices, oldest first, each row with at least one item. Shape (B, T), int64, 0 is padding.
    """
    real = rows != PADDING
    lengths = real.sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    return _packed(rows[order][real[order]], lengths, order)


def pack_slices(items: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor) -> Packed:
    """Lay stretches of one long row end to end; they may overlap.

    Args:
        items: Item indices. Shape (M,), int64.
        starts: Where each stretch begins. Shape (B,), int64.
        lengths: How long it is, 1 at least. Shape (B,), int64.
    """
    order = torch.argsort(lengths, stable=True)
    ranked = lengths[order]
    within = torch.arange(int(ranked.sum()), device=ranked.device) - torch.repeat_interleave(
        ranked.cumsum(0) - ranked, ranked
    )
    return _packed(items[torch.repeat_interleave(starts[order], ranked) + within], lengths, order)


def _packed(items: torch.Tensor, lengths: torch.Tensor, order: torch.Tensor) -> Packed:
    ranked = lengths[order]
    ends = ranked.cumsum(0)
    places = torch.repeat_interleave(ends, ranked) - 1 - torch.arange(len(items), device=items.device)
    sizes, counts = torch.unique_consecutive(ranked, return_counts=True)
    groups = tuple(zip(counts.tolist(), sizes.tolist(), strict=True))
    return Packed(items, places, groups, order)
