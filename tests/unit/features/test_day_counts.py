"""Lists of many rows in two arrays, against lists of their own."""

import numpy as np
import pytest

from features.day_counts import DayCounts


@pytest.mark.parametrize("seed", range(5))
def test_every_row_has_what_was_put_last(seed: int) -> None:
    generator = np.random.default_rng(seed)
    kept, plain = DayCounts(), dict[int, list[int]]()
    n_rows = 0
    for _ in range(200):
        n_rows += int(generator.integers(0, 4))
        kept.grow(n_rows)
        rows = generator.permutation(n_rows)[: int(generator.integers(0, 6))].tolist()
        days = [sorted(generator.integers(20_000, 21_000, generator.integers(0, 8)).tolist()) for _ in rows]
        flat = [day for own in days for day in own]
        kept.put(rows, [len(own) for own in days], flat, [day % 7 for day in flat])
        plain |= dict(zip(rows, days, strict=True))
    assert len(kept) == n_rows
    wanted = generator.integers(0, n_rows, 3 * n_rows)
    found, counts = kept.of(wanted)
    lists = [plain.get(row, []) for row in wanted.tolist()]
    assert found.lengths.tolist() == counts.lengths.tolist() == [len(own) for own in lists]
    assert found.values.tolist() == [day for own in lists for day in own]
    assert counts.values.tolist() == [day % 7 for own in lists for day in own]


def test_room_that_lists_leave_is_used_again() -> None:
    kept = DayCounts()
    kept.grow(10)
    for step in range(2000):
        kept.put([step % 10], [3], [step, step + 1, step + 2], [1, 2, 3])
    assert len(kept._days) < 2000
    days, _ = kept.of([9])
    assert days.values.tolist() == [1999, 2000, 2001]


def test_of_no_rows_there_is_nothing() -> None:
    kept = DayCounts()
    kept.put([], [], [], [])
    assert [part.values.tolist() for part in kept.of([])] == [[], []]
