"""The time line: entries are added and counted, what lasts is one entry, and only the oldest go."""

import math
import multiprocessing
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from core.logs.timeline import Timeline, TimelineError


@pytest.fixture
def timeline(tmp_path):
    return Timeline(tmp_path / "shop" / "timeline.sqlite")


def alarm(timeline, signal="data.price", **more):
    return timeline.add("alarm", signal, "on", f"{signal} moved.", **more)


def test_one_that_does_not_exist_is_empty_and_reading_makes_no_file(timeline):
    assert timeline.read() == timeline.lasting("run") == []
    assert timeline.newest("alarm") is timeline.find(1) is None
    assert timeline.prune(100, 1) == 0
    assert not timeline.path.exists()


def test_an_entry_reads_as_it_was_written(timeline):
    first = alarm(timeline, details={"value": 0.5, "users": [1, 2]})
    second = timeline.add("decision", "fine-tune", "wanted", "Quality is lost.", cause=first.id)
    assert timeline.read() == [first, second]
    assert timeline.find(second.id) == second
    assert second.cause == first.id
    assert first.details == {"value": 0.5, "users": [1, 2]}


def test_what_is_seen_again_is_counted_and_no_entry_more(timeline):
    entry = alarm(timeline, at=datetime(2026, 1, 1, tzinfo=UTC), details={"value": 1, "kept": True})
    again = timeline.repeat(timeline.repeat(entry), "price moved further.", details={"value": 2})
    assert timeline.read() == [again]
    assert (again.count, again.at, again.says) == (3, "2026-01-01T00:00:00.000+00:00", "price moved further.")
    assert again.until > again.at
    assert again.details == {"value": 2, "kept": True}


def test_what_ended_does_not_last_any_more(timeline):
    on, run = alarm(timeline), timeline.add("run", "pipeline", "running", "It began.")
    assert timeline.lasting("alarm") == [on]
    timeline.settle(on, "cleared")
    timeline.settle(run, "crashed", "It was killed.")
    assert timeline.lasting("alarm") == timeline.lasting("run") == []
    assert [(entry.state, entry.says) for entry in timeline.read()] == [
        ("cleared", "data.price moved."),
        ("crashed", "It was killed."),
    ]


def test_it_is_asked_by_kind_by_time_and_by_page(timeline):
    old = alarm(timeline, "data.old", at=datetime.now(UTC) - timedelta(days=3))
    entries = [old, *(alarm(timeline, f"data.{n}") for n in range(3)), timeline.add("run", "monitor", "running", ".")]
    assert timeline.read(limit=2) == entries[-2:]
    assert timeline.read(before=entries[-1].id, limit=2) == entries[-3:-1]
    assert timeline.read(["run"]) == entries[-1:]
    assert timeline.read(["run", "alarm"], since=datetime.now(UTC) - timedelta(days=1)) == entries[1:]
    assert timeline.newest("alarm") == entries[3]
    assert timeline.newest("alarm", "data.old") == old


def test_the_oldest_go_and_what_lasts_stays(timeline):
    lasting = alarm(timeline, "data.lasting", at=datetime.now(UTC) - timedelta(days=900))
    for number in range(5):
        timeline.settle(alarm(timeline, f"data.{number}"), "cleared")
    assert timeline.prune(max_entries=2, days=400) == 3
    assert [entry.subject for entry in timeline.read()] == ["data.lasting", "data.3", "data.4"]
    timeline.settle(lasting, "cleared")
    old = timeline.add("promotion", "v1", "done", "Long ago.", at=datetime.now(UTC) - timedelta(days=401))
    assert timeline.prune(max_entries=100, days=400) == 1
    assert old not in timeline.read()


def test_a_clock_that_is_set_ahead_removes_no_entry(timeline, set_clock):
    timeline.add("promotion", "v1", "done", "Just now.")
    set_clock(timedelta(days=900))
    assert timeline.prune(max_entries=100, days=400) == 0


def test_a_number_is_never_given_again(timeline):
    numbers = [timeline.settle(alarm(timeline), "cleared").id for _ in range(3)]
    timeline.prune(max_entries=0, days=0.0)
    assert alarm(timeline).id > max(numbers)


def test_of_one_key_there_is_one_entry_whoever_tries_again(timeline):
    first = timeline.add("run", "pipeline", "running", "It began.", key="run-1")
    timeline.settle(first, "completed")
    again = timeline.add("run", "pipeline", "running", "It began.", key="run-1")
    assert (again.id, again.state) == (first.id, "completed")
    assert timeline.keyed("run-1") == again
    assert timeline.keyed("run-2") is None
    assert timeline.add("run", "pipeline", "running", "Another.", key="run-2").id > first.id


def _add_some(path, name):
    for number in range(20):
        alarm(Timeline(path), f"{name}.{number}")


def test_many_processes_write_at_once(timeline):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_some, args=(timeline.path, f"data{n}")) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len({entry.subject for entry in timeline.read()}) == 40


def test_what_others_wrote_since_an_entry_was_read_stays(timeline):
    old = timeline.add("decision", "pipeline", "wanted", "Quality is lost.", details={"rule": "retrain", "by": 1})
    timeline.settle(old, "started", "It began.", details={"by": 2})
    again = timeline.repeat(old, details={"signals": []})
    assert (again.state, again.says, again.count) == ("started", "It began.", 2)
    assert again.details == {"rule": "retrain", "by": 2, "signals": []}
    assert timeline.repeat(old).count == 3
    assert timeline.settle(old, "lost", "Given up.", details={"by": 3}, only=["wanted"]) == timeline.find(old.id)
    assert timeline.find(old.id).state == "started"
    assert timeline.settle(old, "lost", only=["wanted", "started"]).state == "lost"


def test_what_is_noted_of_an_entry_does_not_happen_to_it(timeline):
    entry = alarm(timeline, at=datetime(2026, 1, 1, tzinfo=UTC), details={"value": 1})
    after = timeline.note(entry, {"told": True})
    assert after == timeline.find(entry.id) == entry.model_copy(update={"details": {"value": 1, "told": True}})


def test_what_is_noted_of_an_entry_as_it_was_read_does_not_replace_what_is_newer(timeline):
    old = alarm(timeline, details={"untold": {"event": "raised"}, "value": 1})
    newer = timeline.note(old, {"untold": {"event": "cleared"}})
    assert timeline.note(old, {"untold": None}, where={"untold": old.details["untold"]}) == newer
    assert timeline.find(old.id) == newer
    assert timeline.note(newer, {"untold": None}, where={"untold": {"event": "cleared"}}).details["untold"] is None


def test_what_is_no_number_keeps_nothing_from_being_read(timeline):
    alarm(timeline, details={"value": float("nan"), "untold": {"event": "raised", "p": [float("inf")]}})
    before = alarm(timeline, details={"untold": {"event": "raised"}})
    alarm(timeline, details={"untold": None})
    with closing(sqlite3.connect(timeline.path)) as connection, connection:  # as it was written before
        connection.execute("UPDATE entries SET details = json_set(details, '$.v', 0) WHERE id = ?", (before.id,))
        connection.execute("UPDATE entries SET details = replace(details, ':0}', ':NaN}') WHERE id = ?", (before.id,))
    found = timeline.detailed("untold")
    assert [one.subject for one in found] == ["data.price", "data.price"]
    assert found[0].details == {"value": None, "untold": {"event": "raised", "p": [None]}}
    assert math.isnan(found[1].details["v"])


def test_an_entry_that_was_removed_meanwhile_is_changed_nowhere(timeline):
    entry = timeline.settle(alarm(timeline), "cleared")
    timeline.prune(max_entries=0, days=0.0)
    assert timeline.repeat(entry).count == 2
    assert timeline.read() == []


def _count_some(path, number):
    timeline = Timeline(path)
    entry = timeline.find(number)
    for _ in range(20):
        timeline.repeat(entry)


def test_what_many_processes_see_at_once_is_counted_in_full(timeline):
    entry, context = alarm(timeline), multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_some, args=(timeline.path, entry.id)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert timeline.find(entry.id).count == 41


def test_a_file_that_is_none_is_said_with_its_path(tmp_path):
    (tmp_path / "timeline.sqlite").write_text("this is no database, and long enough to be taken for none" * 20)
    broken = Timeline(tmp_path / "timeline.sqlite")
    with pytest.raises(TimelineError, match=r"Cannot read the time line: path=.*timeline\.sqlite"):
        broken.read()
    with pytest.raises(TimelineError, match=r"Cannot write the time line: path=.*timeline\.sqlite"):
        alarm(broken)
