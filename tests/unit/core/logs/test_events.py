"""The event log keeps every acknowledged event exactly once, whoever writes at the same time."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.logs.events import EventLog, EventLogError, Interaction, UserRefused

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def event(event_id: str, user_id: str = "u", value: float | None = None, timestamp: datetime = NOON) -> Interaction:
    return Interaction(event_id, user_id, "i", "rating" if value else "view", timestamp, value)


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "deep" / "events.sqlite", above=0)
    events = [event("b", value=4.5), event("a"), event("c", timestamp=NOON + timedelta(microseconds=1))]
    assert log.append(events) == events
    assert [(n, e) for n, e in EventLog(log.path).read()] == [(1, events[0]), (2, events[1]), (3, events[2])]
    assert [e.event_id for _, e in log.read(after=2)] == ["c"]
    assert log.count() == 3


def test_a_log_that_does_not_exist_is_empty_and_stays_away(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "none" / "events.sqlite")
    assert list(log.read()) == []
    assert log.count() == 0
    assert log.append([]) == []
    assert not log.path.parent.exists()


def test_a_file_without_the_table_yet_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    path.touch()
    assert list(EventLog(path).read()) == []
    assert EventLog(path).count() == 0


def test_an_event_sent_again_is_kept_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    log.append([event("a")])
    assert [e.event_id for e in log.append([event("a", value=1.0), event("b"), event("b")])] == ["b"]
    assert [(e.event_id, e.value) for _, e in log.read()] == [("a", None), ("b", None)]


def test_times_are_kept_in_utc_to_the_microsecond(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    in_paris = datetime(2026, 3, 1, 13, 0, 0, 7, tzinfo=timezone(timedelta(hours=1)))
    log.append([event("a", timestamp=in_paris)])
    ((_, kept),) = log.read()
    assert kept.timestamp == in_paris
    assert kept.timestamp.utcoffset() == timedelta(0)
    with sqlite3.connect(log.path) as raw:
        assert raw.execute("SELECT timestamp FROM events").fetchall() == [("2026-03-01T12:00:00.000007+00:00",)]


def test_a_time_without_zone_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    with pytest.raises(EventLogError, match=r"timestamp=2026-03-01T12:00:00, expected a time zone \(event_id=x\)"):
        log.append([event("a"), event("x", timestamp=NOON.replace(tzinfo=None))])
    assert log.count() == 0


def test_a_batch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    broken = Interaction("b", None, "i", "view", NOON)  # type: ignore[arg-type]
    with pytest.raises(EventLogError, match="NOT NULL"):
        log.append([event("a"), broken])
    assert log.count() == 0
    assert [e.event_id for e in log.append([event("a")])] == ["a"]


@pytest.mark.parametrize("use", ["read", "append", "count"])
def test_a_file_of_another_kind_is_named(tmp_path: Path, use: str) -> None:
    path = tmp_path / "events.sqlite"
    path.write_text("not a database at all, but long enough to be read as one" * 50)
    log = EventLog(path)
    calls = {"read": lambda: list(log.read()), "append": lambda: log.append([event("a")]), "count": log.count}
    with pytest.raises(EventLogError, match=r"events\.sqlite, expected a SQLite event log, but file is not a database"):
        calls[use]()


def test_commits_are_synchronised_with_the_disk(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    log.append([event("a")])
    assert log._writer is not None
    assert log._writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert log._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_reading_goes_on_over_pages_and_sees_what_is_appended_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.logs.event_pages._PAGE_ROWS", 3)
    log = EventLog(tmp_path / "events.sqlite")
    log.append([event(str(n)) for n in range(7)])
    reader = log.read()
    first = next(reader)[1].event_id
    log.append([event("late")])
    assert [first, *(e.event_id for _, e in reader)] == [*"0123456", "late"]


def test_a_closed_log_opens_again(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    log.append([event("a")])
    log.close()
    log.close()
    log.append([event("b")])
    assert log.count() == 2


def test_the_mark_of_what_was_pushed_only_goes_forward(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite", above=0)
    assert log.pushed() == 0
    log.append([event("a"), event("b"), event("c")])
    log.mark_pushed(2)
    log.mark_pushed(1)
    assert EventLog(log.path).pushed() == 2
    assert log.count(after=log.pushed()) == 1
    log.append([event("d")])
    assert log._writer is not None
    assert log._writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL again after a mark


def test_numbers_never_go_back_where_the_log_was_deleted_or_an_old_copy_was_put_back(tmp_path: Path) -> None:
    log, copy = EventLog(tmp_path / "events.sqlite"), tmp_path / "copy.sqlite"
    log.append([event("a")])
    log.close()
    shutil.copy(log.path, copy)
    log.append([event("b"), event("c")])
    born, highest = log.born(), log.newest()
    assert highest == log.last() > 0
    log.close()

    log.path.unlink()
    assert (log.born(), log.newest(), log.last()) == (0, 0, 0)
    log.append([event("d")])
    [(number, _)] = log.read()
    assert number > highest
    assert log.born() > born
    log.close()

    shutil.copy(copy, log.path)
    log.append([event("e")])
    assert [e.event_id for _, e in log.read()] == ["a", "e"]
    assert log.last() > number
    assert log.born() == born


def test_what_is_acknowledged_after_the_file_was_deleted_is_in_the_new_one(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    log.append([event("a")])
    for file in tmp_path.iterdir():
        file.unlink()
    log.append([event("b")])
    assert [e.event_id for _, e in EventLog(log.path).read()] == ["b"]


def test_threads_and_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC;"
        "from core.logs.events import EventLog; from core.logs.events import Interaction;"
        "log = EventLog(Path(sys.argv[1])); n = sys.argv[2];"
        "[log.append([Interaction(f'{n}-{i}', 'u', 'i', 'view', datetime.now(UTC)),"
        " Interaction(f'shared-{i}', 'u', 'i', 'view', datetime.now(UTC))]) for i in range(30)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(2)]
    logs = [EventLog(path), EventLog(path)]
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda i: logs[i % 2].append([event(f"t-{i}"), event(f"shared-{i}")]), range(30)))
    assert [w.wait(timeout=60) for w in writers] == [0, 0]
    ids = [e.event_id for _, e in EventLog(path).read()]
    assert len(ids) == len(set(ids)) == 2 * 30 + 30 + 30  # two processes, the threads, and the shared ones once
    assert {f"t-{i}" for i in range(30)} <= {e.event_id for batch in added for e in batch}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=5), max_size=6))
def test_any_sequence_of_batches_keeps_each_id_once_in_order_of_arrival(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]]
) -> None:
    log = EventLog(tmp_path_factory.mktemp("log") / "events.sqlite")
    added = [e.event_id for batch in batches for e in log.append([event(name) for name in batch])]
    expected = list(dict.fromkeys(name for batch in batches for name in batch))
    assert added == expected
    assert [e.event_id for _, e in log.read()] == expected


def test_a_full_disk_takes_none_of_a_batch_and_the_same_log_takes_it_later(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    log.append([event("first")])
    assert log._writer is not None
    (pages,) = log._writer.execute("PRAGMA page_count").fetchone()
    log._writer.execute(f"PRAGMA max_page_count = {pages}")
    batch = [event(f"{number:0200}") for number in range(50)]
    with pytest.raises(EventLogError, match=r"disk is full. Free room on the disk and send the events again"):
        log.append(batch)
    assert log.count() == 1
    log._writer.execute("PRAGMA max_page_count = 1000000")
    assert log.append(batch) == batch
    assert log.count() == 51
    log.close()


def test_erased_events_leave_no_byte_and_their_numbers_do_not_come_again(tmp_path: Path) -> None:
    log, other = (EventLog(tmp_path / "events.sqlite", above=0) for _ in range(2))
    log.append([event("a"), event("of-somebody-else", "somebody"), event("b"), event("also-theirs", "somebody")])
    log.mark_pushed(4)
    assert other.erase(lambda user: user == "somebody") == [NOON, NOON]
    assert other.erase(lambda user: user == "somebody") == []
    for path in tmp_path.iterdir():
        assert b"somebody" not in path.read_bytes(), path
    assert [sequence for sequence, _ in log.read()] == [1, 3]
    assert (log.newest(), log.pushed()) == (4, 4)
    log.append([event("c")])
    assert [sequence for sequence, _ in log.read(after=3)] == [5]


def test_no_event_of_a_forgotten_user_is_written_and_none_that_came_with_it(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite", lambda user: user == "gone")
    with pytest.raises(UserRefused, match=r"events\.1\.user_id='gone'"):
        log.append([event("a"), event("b", "gone")])
    assert log.count() == 0
    assert EventLog(tmp_path / "none.sqlite").erase(lambda _: True) == []
    assert EventLog(tmp_path / "none.sqlite").newest() == 0


def test_an_event_may_name_the_answer_that_showed_its_item(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    shown = Interaction("a", "u", "i", "click", NOON, None, "r-1", 3)
    log.append([shown, event("b", timestamp=NOON - timedelta(hours=1))])
    assert next(kept for _, kept in log.read()) == shown
    assert log.since(NOON) == [("u", "i", "click", "2026-03-01T12:00:00.000000+00:00", "r-1", 3)]


def test_a_log_of_an_earlier_release_is_read_as_it_is_and_takes_new_events(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.execute(
            "CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE NOT NULL, "
            "user_id TEXT NOT NULL, item_id TEXT NOT NULL, event TEXT NOT NULL, value REAL, timestamp TEXT NOT NULL, "
            "received_at TEXT NOT NULL)"
        )
        at = "2026-03-01T12:00:00.000000+00:00"
        old.execute("INSERT INTO events VALUES (1, 'a', 'u', 'i', 'view', NULL, ?, ?)", (at, at))
        old.commit()
    log = EventLog(path)
    assert [kept for _, kept in log.read()] == [event("a")]
    assert log.since(NOON) == [("u", "i", "view", at, None, None)]
    new = Interaction("b", "u", "i", "click", NOON, None, "r-1", 1)
    assert log.append([new]) == [new]
    assert [kept for _, kept in EventLog(path).read()] == [event("a"), new]
