"""What is kept of the rows that were read, and when the store is asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.logs.events import Interaction
from core.settings.features import FeatureSettings, FeatureStoreSettings
from core.timing.circuit import CircuitBreaker
from core.tombstones import IsForgotten, nobody
from features.archive.publication import Published, publish
from features.errors import FeastFailure, FeatureError, StoreEmptied
from features.filling import Filling
from features.resilience import KeptRows, ResilientFeatures

ROWS = ["h" * 500, None, b"s" * 500]
ROOM = 5 * 1500


def test_the_newest_rows_of_a_user_are_kept() -> None:
    kept = KeptRows(ROOM)
    kept.keep("a", ["old", None, None])
    kept.keep("a", ROWS)
    assert (kept.of("a"), kept.of("b"), len(kept)) == (ROWS, None, 1)


def test_who_was_not_read_for_longest_goes_first() -> None:
    kept = KeptRows(ROOM)
    for user in "abcde":
        kept.keep(user, ROWS)
    kept.keep("a", ROWS)
    kept.keep("f", ROWS)
    assert kept.of("b") is None
    assert [user for user in "abcdef" if kept.of(user)] == list("acdef")


def test_room_that_is_freed_is_used_again() -> None:
    kept = KeptRows(ROOM)
    for _ in range(100):
        kept.keep("a", ROWS)
        kept.keep("b", ROWS)
        kept.drop("b")
    for user in "cdef":
        kept.keep(user, ROWS)
    assert [user for user in "abcdef" if kept.of(user)] == list("acdef")


def test_a_user_without_rows_is_not_kept() -> None:
    kept = KeptRows(ROOM)
    kept.keep("a", ROWS)
    kept.keep("a", [None, None, None])  # erased meanwhile
    assert (kept.of("a"), len(kept)) == (None, 0)


@pytest.mark.parametrize("room", [0, 1000])
def test_rows_that_do_not_fit_are_not_kept(room: int) -> None:
    kept = KeptRows(room)
    kept.keep("a", ROWS)
    assert len(kept) == 0


class Online:
    """A store with a row of each user, whose items changed, and which may be away in part or altogether."""

    def __init__(self) -> None:
        self.rows_fail = self.changes_fail = False
        self.change, self.filling = 7, 0

    def read_served(self, config: object, views: object, user_id: str, counted: str) -> tuple[list[Any], int, int]:
        if self.rows_fail:
            raise ConnectionError("away")
        return [None, None, "seen" if user_id and self.change else None], self.change, self.filling

    def read_filling(self, config: object) -> int:
        return self.filling

    def read_changes(self, config: object, view: str, after: int) -> list[tuple[str, str | None, int]]:
        if self.changes_fail:
            raise ConnectionError("away")
        return [("a", None, self.change)] if after < self.change else []


def reader(online: Online, is_forgotten: IsForgotten = nobody) -> tuple[ResilientFeatures, Callable[[float], None]]:
    """A reader of the store, and what lets seconds pass for its breaker."""
    now = [100.0]
    breaker = CircuitBreaker(2.0, lambda: now[0])
    made = ResilientFeatures(Path(), FeatureSettings(), is_forgotten, breaker=breaker, timeout_s=1.0, kept_bytes=10_000)
    made._store._opened = online, None
    return made, lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_of_a_forgotten_user_who_is_read_nothing_is_kept() -> None:
    forgotten = {"gone"}
    features, _ = reader(Online(), forgotten.__contains__)
    assert len(features.read_seen("gone", 9.0)) == len(features._kept) == 0
    features._read("u")
    assert features._kept.of("u") is not None
    features._read("")
    forgotten.add("u")
    features._read("u")
    assert features._kept.of("u") is None


def test_rows_of_who_is_forgotten_later_are_swept() -> None:
    features, _ = reader(Online())
    for user in ("a", "b", "c"):
        features._read(user)
    features.sweep({"a", "c", "d"}.__contains__)
    assert [user for user in "abc" if features._kept.of(user)] == ["b"]


def test_a_store_is_back_once_the_items_changes_can_be_read_too(caplog: pytest.LogCaptureFixture) -> None:
    online = Online()
    features, wait = reader(online)
    online.rows_fail = online.changes_fail = True
    with pytest.raises(FeastFailure):
        features.items_at()
    online.rows_fail = False
    for _ in range(3):
        wait(2.1)
        features.probe()
        assert features.is_away
        wait(2.1)
        with pytest.raises(FeastFailure):
            features.read_seen("u", 9.0)  # a request may be the one that tries
        assert features.is_away
    assert len(caplog.records) == 1, "it went away once"
    online.changes_fail = False
    wait(2.1)
    features.probe()
    assert not features.is_away
    assert features._items.seen == 7


@pytest.fixture
def online() -> Online:
    """A store that was filled, and has a row of each user."""
    made = Online()
    made.filling = 11
    return made


def empty(online: Online) -> None:
    online.change = online.filling = 0


def test_a_store_that_comes_back_empty_is_one_that_cannot_be_read(online: Online) -> None:
    """Not one to which everybody is new."""
    features, wait = reader(online)
    assert features._read("u")[0][-1] == "seen"
    empty(online)
    with pytest.raises(StoreEmptied, match=r"filled=0.* expected the number of its filling, 11.*refresh-features"):
        features._read("u")
    assert features.is_away
    assert "emptied" in features._breaker.problem
    assert features._last_rows("u") == [None, None, "seen"], "what was read of it is kept"
    with pytest.raises(FeatureError):
        features._read("never read")
    wait(2.1)
    features.probe()
    assert features.is_away, "it is as empty as it was"


def test_a_store_that_was_filled_again_is_read_from_its_beginning(online: Online) -> None:
    features, wait = reader(online)
    features.items_at()
    assert (features._items.seen, len(features._items)) == (7, 1)
    empty(online)
    with pytest.raises(StoreEmptied):
        features.items_at()
    online.filling, online.change = 12, 3  # its changes are counted anew
    wait(2.1)
    features.probe()
    assert not features.is_away
    features.items_at()
    assert features._items.seen == 3


def test_a_worker_that_begins_on_an_emptied_store_finds_in_what_was_published_that_it_is(
    online: Online, tmp_path: Path
) -> None:
    features, _ = reader(online)
    features._filling = Filling(tmp_path)
    empty(online)
    features._read("u")  # nothing was ever published
    published = Published(
        version=1, key="k", settings=FeatureSettings(), stores=FeatureStoreSettings(), generation=1, n_parts=0,
        parts=(), materialised_to=None, log_sequence=0,
    )  # fmt: skip
    publish(tmp_path, published)
    features._read("u")  # by an earlier release, whose stores have no number
    publish(tmp_path, published.model_copy(update={"filling": 11}))
    with pytest.raises(StoreEmptied, match="number of its filling, 11"):
        features._read("u")


def test_events_wait_for_an_emptied_store_to_be_filled(online: Online) -> None:
    """Its items have no rows, so that they would count as events on unknown items: taken, and lost."""
    features, _ = reader(online)
    features._read("u")
    empty(online)
    with pytest.raises(StoreEmptied):
        features.push([Interaction("e", "u", "a", "view", datetime(2026, 1, 1, tzinfo=UTC))], [1])


def test_where_the_feast_folder_cannot_be_looked_into_the_store_is_away_and_one_that_is_open_is_read_on(
    online: Online, tmp_path: Path
) -> None:
    (tmp_path / "feast").write_text("a file in the place of the folder", encoding="utf-8")
    features, opened = (
        ResilientFeatures(
            tmp_path / "feast", FeatureSettings(), breaker=CircuitBreaker(2.0), timeout_s=1.0, kept_bytes=10_000
        )
        for _ in range(2)
    )
    with pytest.raises(FeastFailure, match=r"Cannot open the online store: error=NotADirectoryError.*may be read"):
        features.read_user("u")
    assert features.is_away
    with pytest.raises(FeastFailure, match="Cannot open"):
        features.push([Interaction("e", "u", "a", "view", datetime(2026, 1, 1, tzinfo=UTC))], [1])
    opened._store._opened = online, None
    assert opened._read("u")[0][-1] == "seen"
    online.filling, opened._filling = 0, Filling(tmp_path / "feast")  # whether it was emptied cannot be told
    with pytest.raises(FeastFailure, match="error=NotADirectoryError"):
        opened._read("u")


def test_of_two_who_read_changes_at_once_the_older_rows_do_not_come_last(online: Online) -> None:
    """The second waits, and finds that there is nothing left for it, or what came since."""
    features, _ = reader(online)
    began, may_go_on, asked = threading.Event(), threading.Event(), list[int]()

    def read_changes(config: object, view: str, after: int) -> Iterator[tuple[str, str | None, int]]:
        asked.append(after)
        if len(asked) == 1:
            began.set()
            assert may_go_on.wait(5)
        yield "a", None, online.change

    online.read_changes = read_changes  # type: ignore[assignment, method-assign]
    first = threading.Thread(target=features.items_at)
    first.start()
    assert began.wait(5)
    seconds = [threading.Thread(target=features.items_at) for _ in range(3)]
    for thread in seconds:
        thread.start()
    seconds[0].join(0.1)
    assert (len(asked), seconds[0].is_alive()) == (1, True)
    may_go_on.set()
    for thread in [first, *seconds]:
        thread.join(5)
    assert (asked, features._items.seen) == ([0], 7)
