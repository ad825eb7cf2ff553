from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from recommender.inputs.batching import POOL_BATCHES, by_length, shuffled_by_length

LENGTHS = np.random.default_rng(0).integers(1, 200, 700).tolist()
SIZE = 8


def numpy_order(seed: int) -> Callable[[int], np.ndarray | torch.Tensor]:
    return np.random.default_rng(seed).permutation


def torch_order(seed: int) -> Callable[[int], np.ndarray | torch.Tensor]:
    return partial(torch.randperm, generator=torch.Generator().manual_seed(seed))


def padding(batches: list[list[int]]) -> int:
    return sum(max(LENGTHS[row] for row in rows) - LENGTHS[row] for rows in batches for row in rows)


def test_by_length_the_shortest_come_first_and_equals_in_their_order():
    assert by_length([3, 1, 2, 1, 3], 2) == [[1, 3], [2, 0], [4]]
    assert by_length([], 2) == []


@pytest.mark.parametrize("order", [numpy_order, torch_order])
def test_shuffled_every_row_comes_once_in_full_batches_with_little_padding(order):
    batches = shuffled_by_length(LENGTHS, SIZE, order(1))
    assert sorted(row for rows in batches for row in rows) == list(range(len(LENGTHS)))
    assert sorted({len(rows) for rows in batches}) == [len(LENGTHS) % SIZE, SIZE]
    order_alone = order(1)(len(LENGTHS)).tolist()
    unsorted = [order_alone[start : start + SIZE] for start in range(0, len(LENGTHS), SIZE)]
    assert padding(batches) < padding(unsorted) / 4


@pytest.mark.parametrize("order", [numpy_order, torch_order])
def test_shuffled_batches_vary_from_epoch_to_epoch_and_follow_the_seed(order):
    generator = order(1)
    first, second = (shuffled_by_length(LENGTHS, SIZE, generator) for _ in range(2))
    assert first == shuffled_by_length(LENGTHS, SIZE, order(1))
    assert {frozenset(rows) for rows in first}.isdisjoint({frozenset(rows) for rows in second})


def test_shuffled_rows_are_sorted_within_pools_and_the_batches_shuffled_after_that():
    generator = np.random.default_rng(7)
    pools = generator.permutation(len(LENGTHS))
    expected = []
    for start in range(0, len(pools), SIZE * POOL_BATCHES):
        pool = sorted(pools[start : start + SIZE * POOL_BATCHES].tolist(), key=lambda row: LENGTHS[row])
        expected += [pool[first : first + SIZE] for first in range(0, len(pool), SIZE)]
    expected = [expected[place] for place in generator.permutation(len(expected))]
    assert shuffled_by_length(LENGTHS, SIZE, numpy_order(7)) == expected
