"""Batches whose rows are about equally long, so that little of them is padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

# Shuffled rows are sorted within pools of this many batches: the batches hold little padding, and yet vary.
POOL_BATCHES = 16


def by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Every row once, the shortest first, equally long ones in their order.

    Returns:
        Rows of each batch; the last one may be smaller.
    """
    return _cut(sorted(range(len(lengths)), key=lengths.__getitem__), batch_size)


def shuffled_by_length(
    lengths: Sequence[int], batch_size: int, permute: Callable[[int], np.ndarray | torch.Tensor]
) -> list[list[int]]:
    """Every row once, in random batches, in random order.

    Args:
        permute: From n to the numbers below n in random order, e.g. a numpy generator's `permutation`; called for the
            rows, then for the batches.
    Returns:
        Rows of each batch.
    """
    batches: list[list[int]] = []
    for pool in _cut(permute(len(lengths)).tolist(), batch_size * POOL_BATCHES):
        batches += _cut(sorted(pool, key=lengths.__getitem__), batch_size)
    return [batches[place] for place in permute(len(batches)).tolist()]


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
