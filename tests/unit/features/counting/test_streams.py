"""Clocks, slices and counting along streams, against rows worked by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from core.schema import TIME
from features.counting.columns import Lists
from features.counting.streams import GroupCounts, NewestEntries, Places, expand, order_events

SECOND = 1_000_000


def clocks_of(rows: Sequence[tuple[str, int, int | None]], kinds: Sequence[str] | None = None) -> list[tuple[str, int]]:
    """Items and clocks of one user's rows (item, microseconds, position), in their order."""
    table = pa.table(
        {
            "user_id": ["u"] * len(rows),
            "item_id": [item for item, _, _ in rows],
            "event": list(kinds or ["view"] * len(rows)),
            "value": pa.array([None] * len(rows), pa.float64()),
            "timestamp": pa.array([us for _, us, _ in rows], TIME),
            "position": pa.array([position for _, _, position in rows], pa.int64()),
            "tie": list(range(len(rows))),
        }
    )
    events = order_events(table, ("impression",))
    return list(zip(events.items.take(pa.array(events.item)).to_pylist(), events.clock.tolist(), strict=True))


def test_ties_go_by_position_then_by_what_breaks_ties() -> None:
    rows = [("c", SECOND, None), ("b", SECOND, 2), ("a", SECOND, 1), ("d", SECOND, None)]
    assert clocks_of(rows) == [("a", SECOND), ("b", SECOND + 1), ("c", SECOND + 2), ("d", SECOND + 3)]


def test_a_clock_increases_even_where_ranks_run_into_the_next_instant() -> None:
    rows = [(item, SECOND, n) for n, item in enumerate("abc")] + [("d", SECOND + 1, None), ("e", 2 * SECOND, None)]
    assert clocks_of(rows) == [*((item, SECOND + n) for n, item in enumerate("abcd")), ("e", 2 * SECOND)]


def test_ignored_events_have_a_clock_too_but_do_not_count() -> None:
    assert clocks_of([("a", SECOND, 0), ("b", SECOND, 1)], ["impression", "view"]) == [("a", SECOND), ("b", SECOND + 1)]


def test_places_tell_how_far_an_entity_had_come() -> None:
    places = Places(np.array([0, 0, 1, 1, 1]), np.array([5, 9, 1, 5, 5]), n_entities=2)
    start, stop = places.until(np.array([0, 0, 0, 1, 1, -1]), np.array([4, 5, 99, 0, 5, 99]))
    assert (stop - start).tolist() == [0, 1, 2, 0, 3, 0]


def test_the_newest_entries_of_a_long_and_repetitive_history() -> None:
    # 0 once, then 1 and 2 in turns: the two newest keys fill any short look back.
    keys = np.array([0] + [1, 2] * 50)
    entries = NewestEntries(np.zeros(101, dtype=np.int64), keys, 3)
    label, place = entries.before(np.array([0, 0]), np.array([101, 3]), limit=3)
    assert (label.tolist(), place.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 99, 100, 0, 1, 2])
    assert np.flatnonzero(entries.is_first).tolist() == [0, 1, 2]


def test_group_counts_before_a_place() -> None:
    counts = GroupCounts(np.array([0, 0, 0, 1]), np.array([2, 0, 2, 1]), np.array([0, 1, 3, 4]), n_groups=3)
    label, group, count = counts.before(np.array([0, 0, 1, 1]), np.array([4, 1, 4, 5]))
    assert list(zip(label.tolist(), group.tolist(), count.tolist(), strict=True)) == [
        (0, 0, 1), (0, 2, 2), (1, 2, 1), (3, 1, 1),
    ]  # fmt: skip
    label, group, _ = counts.before(np.array([0]), np.array([4]), lowest=np.array([1]))
    assert group.tolist() == [2]


def test_slices_laid_out_and_lists_cut() -> None:
    label, place = expand(np.array([3, 7, 0]), np.array([5, 7, 1]))
    assert (label.tolist(), place.tolist()) == ([0, 0, 2], [3, 4, 0])
    lists = Lists(np.array([2, 0, 3]), np.array([5, 6, 7, 8, 9]))
    assert lists.first(2).to_arrow().to_pylist() == [[5, 6], [], [7, 8]]
    assert lists.sums().tolist() == [11, 0, 24]
