"""The rule of every online store: a stored row is replaced only by one that holds at least as much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from features.counting.sketches import new_user
from features.counting.views import USER_HISTORY
from features.feast.rows import StoredRow
from features.feast.store import open_store
from features.refresh import online_store_of

NEWEST_US = 1_767_225_600_123_456  # all digits have to count


def check_superseding(feast: Path) -> None:
    """Write rows that hold more and less than the stored one, and see which are kept."""
    store = open_store(feast)
    online = online_store_of(store)

    def write(n_views: int, newest: int, n_events: int, sequence: int, as_of_past: bool = False) -> tuple[int, int]:
        row = StoredRow.of(USER_HISTORY, "z", {**new_user(), "n_views": n_views, "log_sequence": 0})
        row = replace(row, newest_us=newest, n_events=n_events, sequence=sequence)
        online.write_rows(store.config, USER_HISTORY, [row], as_of_past)
        (stored,) = online.read_rows(store.config, USER_HISTORY, ["z"])
        return stored.facts(USER_HISTORY)["n_views"], stored.sequence

    assert write(1, newest=NEWEST_US, n_events=2, sequence=3) == (1, 3)
    assert write(2, newest=NEWEST_US - 1, n_events=9, sequence=0) == (1, 3)  # older
    assert write(3, newest=NEWEST_US, n_events=1, sequence=0) == (1, 3)  # as old, of fewer events
    assert write(4, newest=NEWEST_US, n_events=2, sequence=0) == (4, 3)  # the same events
    assert write(5, newest=1, n_events=1, sequence=3) == (5, 3)  # holds all that was pushed
    # As of a past moment the log's numbers say nothing: that row is of the same log, and knows less.
    assert write(6, newest=NEWEST_US, n_events=2, sequence=3, as_of_past=True) == (6, 3)
    assert write(7, newest=NEWEST_US - 1, n_events=1, sequence=9, as_of_past=True) == (6, 3)
    assert write(8, newest=NEWEST_US, n_events=2, sequence=1, as_of_past=True) == (8, 3)
