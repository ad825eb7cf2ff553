"""Sealed events are read as those of the table, by whoever reads."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.logs import event_pages, sealing
from core.logs import events as event_log
from core.logs.event_pages import EventPages
from core.logs.events import EventLog, EventLogError, Interaction
from core.logs.sealed import find_segments
from core.logs.sealing import hash_of
from core.storage import UNFINISHED
from core.timing.clock import CLOCK

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def event(name: str, user: str = "u", at: datetime = NOON) -> Interaction:
    return Interaction(name, user, "i", "click", at, None, "r-1", 3)


def some(*names: object) -> list[Interaction]:
    return [event(str(name)) for name in names]


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "events.sqlite", above=0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments, batches and pages of few events."""
    monkeypatch.setattr(sealing, "SEGMENT_ROWS", 4)
    monkeypatch.setattr(sealing, "_BATCH_ROWS", 3)
    monkeypatch.setattr("core.logs.event_pages._PAGE_ROWS", 2)


def in_table(log: EventLog) -> list[int]:
    with closing(sqlite3.connect(log.path)) as raw:
        return [number for (number,) in raw.execute("SELECT sequence FROM events ORDER BY sequence")]


def seen(log: EventLog) -> dict[str, object]:
    """All that readers ask of a log."""
    rows = list(log.read())
    numbers = [0, *(number for number, _ in rows)]
    return {
        "read": rows,
        "after": [[number for number, _ in log.read(after)] for after in numbers],
        "tables": [row["event_id"] for page in log.tables() for row in page.to_pylist()],
        "count": [log.count(after) for after in numbers],
        "since": [log.since(NOON + timedelta(microseconds=n)) for n in (0, 1, 3)],
        "times": log.times_of(lambda user: user == "v"),
        "last": (log.last(), log.newest(), log.born(), log.pushed()),
    }


def test_every_reader_gets_what_is_sealed_and_what_is_not_as_one(log: EventLog, small: None) -> None:
    rated = Interaction("rated", "v", "ü", "rating", NOON + timedelta(microseconds=3), 4.5)
    late = Interaction("early", "v", "i", "view", datetime(1995, 1, 1, tzinfo=UTC), None)
    log.append([*some(*range(5)), rated, late, *some(*range(5, 11))])
    log.mark_pushed(3)
    before = seen(log)
    assert log.seal(LATER, at_least=14) == 0
    assert seen(log) == before
    log.append(some("live"))
    before = seen(log)
    assert [number for number, _ in before["read"]] == list(range(1, 15))  # type: ignore[attr-defined]
    for start in (3, 4, 9):  # also where only a part is old enough
        with closing(sqlite3.connect(log.path)) as raw, raw:
            raw.execute("UPDATE events SET received_at = '2100-01-02' WHERE sequence > ?", (start,))
            raw.execute("UPDATE events SET received_at = '2026-03-01' WHERE sequence <= ?", (start,))
        log.seal(LATER, at_least=1)
        assert in_table(log) == list(range(start + 1, 15))
        assert seen(log) == before
    assert [(one.first, one.last) for one in find_segments(log.sealed)] == [(1, 3), (4, 4), (5, 8), (9, 9)]
    assert seen(EventLog(log.path)) == before
    log.append(some("more"))
    assert [one.event_id for _, one in log.read(after=13)] == ["live", "more"]


@pytest.mark.parametrize("n_read", range(10))
def test_a_reader_that_is_under_way_when_events_are_sealed_misses_none(log: EventLog, small: None, n_read: int) -> None:
    log.append(some(*range(5)))
    log.seal(LATER, at_least=1)
    log.append(some(*range(5, 10)))
    reader = log.read()
    names = [next(reader)[1].event_id for _ in range(n_read)]
    log.seal(LATER, at_least=1)
    log.append(some("late"))
    assert [*names, *(one.event_id for _, one in reader)] == [*"0123456789", "late"]


def test_what_is_sealed_between_two_looks_of_a_reader_is_counted_once(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reader looks which segments there are, and into the table: more is sealed right after its first look."""
    log.append(some(*range(4)))
    log.seal(LATER, at_least=1)

    def sealing_after(look: Callable[..., object]) -> Callable[..., object]:
        def one(*arguments: object) -> object:
            found = look(*arguments)
            monkeypatch.undo()
            log.seal(LATER, at_least=1)
            return found

        return one

    asked: list[Callable[[], int]] = [
        log.count,
        lambda: log.count(after=2) + 2,
        lambda: len(list(log.read())),
        lambda: len(log.since(NOON)),
        lambda: len(log.times_of(lambda _: True)),
        lambda: sum(table.num_rows for table in log.tables()),
        log.last,
    ]
    looks = ((event_pages, "find_segments"), (event_pages, "query"), (EventPages, "_live"), (EventPages, "_mark"))
    n_events = 4
    for ask in asked:
        for owner, name in looks:
            log.append(some(f"{n_events}"))
            n_events += 1
            monkeypatch.setattr(owner, name, sealing_after(getattr(owner, name)))
            assert ask() == n_events, (ask, name)
            monkeypatch.undo()


def receive(log: EventLog, monkeypatch: pytest.MonkeyPatch, *received: tuple[str, datetime], now: datetime) -> None:
    """Append an event at each of the times; then it is `now`."""
    for name, at in received:
        monkeypatch.setattr(CLOCK, "now", lambda at=at: at)
        log.append(some(name))
    monkeypatch.setattr(CLOCK, "now", lambda: now)


def march(day: int) -> datetime:
    return datetime(2026, 3, day, tzinfo=UTC)


def test_an_event_that_is_received_later_ends_what_is_sealed(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    received = [("a", march(1)), ("b", march(2)), ("c", march(5)), ("d", march(3))]
    receive(log, monkeypatch, *received, now=march(10))
    assert log.seal(march(4), at_least=1) == 2
    assert in_table(log) == [3, 4]  # the clock was set back
    assert log.seal(march(5), at_least=1) == 0
    (segment,) = find_segments(log.sealed)
    assert pq.read_table(segment.path, partitioning=None)["received_at"].to_pylist() == [march(1), march(2)]


def test_an_event_that_was_received_while_the_clock_was_ahead_keeps_no_other_in_the_table(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = march(1) + timedelta(days=3650)
    received = [("ahead", ahead), ("a", march(1)), ("b", march(2)), ("again", ahead), ("c", march(9))]
    receive(log, monkeypatch, *received, now=march(10))
    assert log.seal(march(4), at_least=1) == 3
    assert in_table(log) == [4, 5]  # as young as what follows it
    receive(log, monkeypatch, now=march(12))
    assert log.seal(march(10), at_least=1) == 2
    assert [one.event_id for _, one in log.read()] == ["ahead", "a", "b", "again", "c"]


def test_an_event_that_is_sealed_is_known_when_it_is_sent_again(log: EventLog) -> None:
    log.append(some("a", "b"))
    log.seal(LATER, at_least=1)
    assert [one.event_id for one in log.append(some("b", "c", "a"))] == ["c"]
    assert [one.event_id for _, one in EventLog(log.path).read()] == ["a", "b", "c"]
    log.erase(lambda user: user == "u")
    with closing(sqlite3.connect(log.path)) as raw:
        assert raw.execute("SELECT count(*) FROM sealed_ids").fetchall() == [(0,)]


def test_the_room_is_given_back(log: EventLog) -> None:
    log.append([event(f"{n:0100}") for n in range(20_000)])
    log.close()
    size = log.path.stat().st_size
    assert log.seal(LATER) == 20_000
    with closing(sqlite3.connect(log.path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert log.path.stat().st_size < size / 10
    assert sum(one.path.stat().st_size for one in find_segments(log.sealed)) < size / 10


def test_a_log_of_an_earlier_release_is_sealed_too(log: EventLog) -> None:
    with closing(sqlite3.connect(log.path)) as old, old:
        old.execute(
            "CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE NOT NULL, "
            "user_id TEXT NOT NULL, item_id TEXT NOT NULL, event TEXT NOT NULL, value REAL, timestamp TEXT NOT NULL, "
            "received_at TEXT NOT NULL)"
        )
        at = "2026-03-01T12:00:00.000000+00:00"
        rows = [(f"{n:0100}", "u", "i", "view", None, at, at) for n in range(5000)]
        old.executemany("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", rows)
    size = log.path.stat().st_size
    before = (list(log.read()), log.count(), log.last())
    assert len(before[0]) == 5000
    assert log.seal(LATER, at_least=1) == 5000
    assert (list(log.read()), log.count(), log.last()) == before
    log.append(some("new"))
    log.close()
    assert log.path.stat().st_size < size / 3


def test_erased_events_are_in_no_segment_and_no_byte(log: EventLog, small: None) -> None:
    log.append([event(f"{n}", "somebody" if n % 3 else "u", NOON + timedelta(hours=n)) for n in range(9)])
    log.append([event("only-theirs-1", "somebody"), event("only-theirs-2", "somebody")])
    log.seal(LATER, at_least=1)
    log.append([event("live", "somebody"), event("stays")])
    (log.sealed / f".one{UNFINISHED}").write_text("somebody")
    of_log = [one.timestamp for _, one in log.read() if one.user_id == "somebody"]
    untouched = {one.path: one.path.stat().st_ino for one in find_segments(log.sealed)}
    assert EventLog(log.path).erase(lambda user: user == "somebody") == of_log
    assert len(of_log) == 9
    assert log.erase(lambda user: user == "somebody") == []
    log.close()
    for path in (path for path in log.path.parent.rglob("*") if path.is_file()):
        assert b"somebody" not in path.read_bytes(), path
    for segment in find_segments(log.sealed):
        assert set(pq.read_table(segment.path, partitioning=None)["user_id"].to_pylist()) <= {"u"}
    assert [number for number, _ in log.read()] == [1, 4, 7, 13]
    assert (log.count(), log.count(after=4), log.last()) == (4, 2, 13)
    log.erase(lambda user: user == "nobody")
    assert {one.path: one.path.stat().st_ino for one in find_segments(log.sealed)}.keys() == untouched.keys()


def test_a_copy_of_the_table_keeps_no_trace_of_who_was_erased_since(log: EventLog, small: None) -> None:
    log.append([event(f"theirs-{n}", "somebody") for n in range(4)])
    log.append([event(f"{n}") for n in range(4)])
    log.seal(LATER, at_least=1)
    log.close()
    copy = log.path.with_name("copy.sqlite")
    shutil.copy(log.path, copy)
    log.erase(lambda user: user == "somebody")
    log.close()
    shutil.copy(copy, log.path)
    again = EventLog(log.path)
    assert again.erase(lambda user: user == "somebody") == []
    again.close()
    with closing(sqlite3.connect(log.path)) as raw:
        kept = {one for (one,) in raw.execute("SELECT id FROM sealed_ids")}
    assert kept == {hash_of(f"{n}") for n in range(4)}
    assert again.append([event("2")]) == []


def test_the_newest_number_is_found_where_the_newest_events_are_gone(log: EventLog, small: None) -> None:
    log.append([*some(*range(3)), *(event(f"t{n}", "somebody") for n in range(6))])
    log.seal(LATER, at_least=1)
    log.erase(lambda user: user == "somebody")
    assert (log.last(), log.count(), log.newest()) == (3, 3, 9)
    log.erase(lambda user: True)
    assert (log.last(), log.count(), list(log.read()), log.newest()) == (0, 0, [], 9)
    log.append(some("new"))
    assert [number for number, _ in log.read()] == [10]


def test_a_segment_that_is_gone_is_said_and_new_events_are_taken_in(log: EventLog, small: None) -> None:
    log.append(some(*range(10)))
    log.seal(LATER, at_least=1)
    kept = shutil.copytree(log.sealed, log.path.parent / "kept")
    first, second, third = find_segments(log.sealed)
    for lost, numbers in ((third, "9 to 10"), (second, "5 to 8"), (first, "1 to 4")):
        lost.path.unlink()
        for use in (lambda: list(log.read()), log.count, lambda: log.since(NOON), lambda: log.seal(LATER, at_least=1)):
            with pytest.raises(EventLogError, match=f"all its sealed segments, but events {numbers} are in none"):
                use()
        shutil.copy(kept / lost.path.name, lost.path)
    shutil.rmtree(log.sealed)
    log.close()
    log.append(some("new"))
    assert [one.event_id for _, one in log.read(after=10)] == ["new"]
    with pytest.raises(EventLogError, match="events 1 to 10 are in none"):
        list(log.read())


def test_a_damaged_segment_is_said(log: EventLog) -> None:
    log.append(some("a"))
    log.seal(LATER, at_least=1)
    (segment,) = find_segments(log.sealed)
    segment.path.write_bytes(b"PAR1 is all that is left")
    with pytest.raises(EventLogError, match="Cannot read the event log"):
        list(log.read())


def test_segments_outlive_their_table(log: EventLog, small: None) -> None:
    """Where the file is lost, what is sealed is not; numbers go on above, and the new table learns whose ids it has."""
    log.append(some(*range(6)))
    log.seal(LATER, at_least=1)
    log.append(some("lost"))
    log.close()
    for file in log.path.parent.glob("events.sqlite*"):
        file.unlink()
    assert [one.event_id for _, one in log.read()] == [*"012345"]
    assert (log.count(), log.count(after=4), log.last(), log.newest()) == (6, 2, 6, 6)
    assert log.append(some("new")) == some("new")
    assert [(number, one.event_id) for number, one in log.read(after=5)] == [(6, "5"), (7, "new")]
    assert log.seal(LATER, at_least=2) == 0
    assert log.append(some("3")) == []


def test_a_copy_of_the_table_that_is_put_back_is_read_with_what_was_sealed_since(log: EventLog, small: None) -> None:
    copy = log.path.with_name("copy.sqlite")
    log.append(some(*range(3)))
    log.close()
    shutil.copy(log.path, copy)
    log.append(some(*range(3, 6)))
    log.seal(LATER, at_least=1)
    log.append(some("lost"))
    log.close()
    with closing(sqlite3.connect(copy)) as raw, raw:  # whoever served from the copy gave the same numbers to others
        raw.execute("DELETE FROM events WHERE event_id = '2'")
        raw.execute("UPDATE events SET sequence = 2 WHERE event_id = '1'")
    shutil.copy(copy, log.path)
    expected = [*"012345"]
    assert [one.event_id for _, one in log.read()] == expected
    log.append(some("new"))
    before = seen(log)
    assert [one.event_id for _, one in before["read"]] == [*expected, "new"]  # type: ignore[attr-defined]
    log.seal(LATER, at_least=100)
    assert in_table(log) == [7]
    assert seen(log) == before


def test_what_only_a_copy_has_joins_the_segments(log: EventLog, small: None) -> None:
    log.append(some(*range(6)))
    log.close()
    copy = log.path.with_name("copy.sqlite")
    shutil.copy(log.path, copy)
    log.erase(lambda _: True)
    log.append(some("of-this"))
    log.seal(LATER, at_least=1)
    log.close()
    shutil.copy(copy, log.path)
    assert [(number, one.event_id) for number, one in log.read()] == [*enumerate("012345", 1), (7, "of-this")]
    log.seal(LATER, at_least=100)
    assert in_table(log) == []
    assert [one.event_id for _, one in EventLog(log.path).read()] == [*"012345", "of-this"]
    assert log.count() == 7


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.one_of(st.just("seal"), st.sampled_from("uv"), st.lists(st.integers(0, 9), max_size=4)), max_size=12)
)
def test_sealing_changes_nothing_that_anybody_sees(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | list[int]]
) -> None:
    plain, sealed = (EventLog(tmp_path_factory.mktemp("log") / "events.sqlite", above=0) for _ in range(2))
    for step in steps:
        if step == "seal":
            sealed.seal(LATER, at_least=1)
        elif isinstance(step, str):
            assert plain.erase(lambda user: user == step) == sealed.erase(lambda user: user == step)  # noqa: B023
        else:
            batch = [event(f"{n}", "uv"[n % 2], NOON + timedelta(microseconds=n)) for n in step]
            assert plain.append(batch) == sealed.append(batch)
    # What is sent again leaves a gap in the numbers of a table alone.
    plain_rows, rows = list(plain.read()), list(sealed.read())
    assert [one for _, one in plain_rows] == [one for _, one in rows]
    assert (plain.count(), plain.since(NOON)) == (sealed.count(), sealed.since(NOON))
    assert plain.times_of(lambda user: user == "u") == sealed.times_of(lambda user: user == "u")
    assert sealed.last() == (rows[-1][0] if rows else 0)
    assert sealed.newest() >= sealed.last()


def test_few_events_stay_where_they_are() -> None:
    assert event_log.MIN_SEALED == 10_000
