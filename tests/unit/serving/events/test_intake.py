"""Events are on the disk before anything else, and reach the online store in the end, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.logs.events import EventLog, EventLogError, Interaction
from serving.events.intake import EventIntake, Receipt

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Sink:
    """Remembers what was pushed; may be away."""

    def __init__(self) -> None:
        self.pushed: list[str] = []
        self.sequences: list[int] = []
        self.away = False

    def push(self, events: Sequence[Interaction], sequences: Sequence[int]) -> None:
        if self.away:
            raise ConnectionError("away")
        self.pushed += [event.event_id for event in events]
        self.sequences += sequences


def batch(*names: str) -> list[Interaction]:
    return [Interaction(name, "u", "i", "view", NOON) for name in names]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.sqlite")
    yield log
    log.close()


@pytest.fixture
def sink() -> Sink:
    return Sink()


def test_events_are_kept_then_pushed(log: EventLog, sink: Sink) -> None:
    intake = EventIntake(log)
    intake.connect(sink)
    assert intake.accept(batch("a", "b")) == Receipt(accepted=2, duplicates=0, pushed=True)
    assert intake.accept(batch("b", "c", "c")) == Receipt(accepted=1, duplicates=2, pushed=True)
    assert sink.pushed == ["a", "b", "c"]
    assert sink.sequences == [sequence for sequence, _ in log.read()]
    assert intake.n_pending() == 0


def test_a_store_that_is_away_costs_no_event(log: EventLog, sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    intake = EventIntake(log)
    intake.connect(sink)
    sink.away = True
    assert intake.accept(batch("a")) == Receipt(accepted=1, duplicates=0, pushed=False)
    assert intake.accept(batch("b")).pushed is False
    assert intake.n_pending() == 2
    assert len(caplog.records) == 1  # said once, not with every event
    sink.away = False
    assert intake.accept(batch("c")).pushed is True
    assert sink.pushed == ["a", "b", "c"]


def test_before_a_store_is_connected_events_wait(log: EventLog, sink: Sink) -> None:
    intake = EventIntake(log)
    assert intake.accept(batch("a")) == Receipt(accepted=1, duplicates=0, pushed=False)
    assert intake.push_pending() is False
    intake.connect(sink)
    assert intake.push_pending() is True
    assert sink.pushed == ["a"]


def test_after_a_crash_between_log_and_store_the_next_process_pushes(log: EventLog, sink: Sink) -> None:
    first = EventIntake(log)
    first.connect(sink)
    first.accept(batch("a"))
    log.append(batch("b"))  # the process dies here
    again = Sink()
    second = EventIntake(EventLog(log.path))
    second.connect(again)
    assert second.push_pending() is True
    assert again.pushed == ["b"]


def test_a_long_backlog_is_pushed_in_pages(log: EventLog, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.events.intake._PAGE_EVENTS", 3)
    log.append(batch(*"abcdefgh"))
    intake = EventIntake(log)
    intake.connect(sink)
    assert intake.push_pending() is True
    assert sink.pushed == [*"abcdefgh"]


def test_a_long_backlog_keeps_no_caller_for_all_of_it(
    log: EventLog, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.events.intake._PAGE_EVENTS", 2)
    monkeypatch.setattr("serving.events.intake._MOST_EVENTS", 3)
    log.append(batch(*"abcdefgh"))
    intake = EventIntake(log)
    intake.connect(sink)
    assert not intake.push_pending()
    assert sink.pushed == [*"abcd"]
    assert intake.accept(batch("i")) == Receipt(accepted=1, duplicates=0, pushed=False)
    assert sink.pushed == [*"abcdefgh"]
    assert intake.push_pending() is True
    assert sink.pushed == [*"abcdefghi"]


def test_a_log_that_cannot_be_written_accepts_nothing(tmp_path: Path, sink: Sink) -> None:
    path = tmp_path / "events.sqlite"
    path.write_text("not a database, and long enough to be read as one" * 50)
    intake = EventIntake(EventLog(path))
    intake.connect(sink)
    with pytest.raises(EventLogError, match="not a database"):
        intake.accept(batch("a"))
    assert sink.pushed == []


def test_many_threads_push_each_event_once_in_the_order_of_the_log(log: EventLog, sink: Sink) -> None:
    intake = EventIntake(log)
    intake.connect(sink)
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda n: intake.accept(batch(f"{n}-0", f"{n}-1")), range(40)))
    assert all(receipt == Receipt(2, 0, True) for receipt in receipts)
    assert sink.pushed == [event.event_id for _, event in log.read()]


def test_an_event_that_finds_the_store_busy_for_long_is_left_to_the_thread_at_work(
    log: EventLog, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.events.intake._LOCK_WAIT_S", 0.01)
    entered, go_on = threading.Event(), threading.Event()
    push = sink.push

    def push_slowly(events: Sequence[Interaction], sequences: Sequence[int]) -> None:
        entered.set()
        assert go_on.wait(5)
        push(events, sequences)

    monkeypatch.setattr(sink, "push", push_slowly)
    intake = EventIntake(log)
    intake.connect(sink)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(intake.accept, batch("a"))
        assert entered.wait(5)
        assert intake.accept(batch("b")) == Receipt(1, 0, pushed=False)
        go_on.set()
        assert slow.result(5).pushed is True
    assert sink.pushed == ["a", "b"]


def test_what_the_data_gate_refuses_stays_in_the_log_and_reaches_no_history(log: EventLog) -> None:
    """Logs of earlier releases hold such events."""
    intake = EventIntake(log)
    refused = [
        Interaction("no-value", "u", "i", "rating", NOON), Interaction("high", "u", "i", "view", NOON, 9.0),
        Interaction("blank", " ", "i", "view", NOON),
    ]  # fmt: skip
    kept = [Interaction("dropped", "u", "i", "view", NOON, 5.0), Interaction("good", "u", "i", "rating", NOON, 5.0)]
    pushed: list[Interaction] = []

    class Collecting(Sink):
        def push(self, events: Sequence[Interaction], sequences: Sequence[int]) -> None:
            pushed.extend(events)

    intake.connect(Collecting())
    assert intake.accept([*refused, *kept]) == Receipt(accepted=5, duplicates=0, pushed=True)
    assert [(event.event_id, event.value) for event in pushed] == [("dropped", None), ("good", 5.0)]
    assert intake.n_pending() == 0


def test_what_the_log_still_holds_of_the_forgotten_is_passed_over(log: EventLog, sink: Sink) -> None:
    log.append([*batch("a"), Interaction("b", "gone", "i", "view", NOON), *batch("c")])
    intake = EventIntake(log, lambda user: user == "gone")
    intake.connect(sink)
    assert intake.push_pending()
    assert sink.pushed == ["a", "c"]
    assert intake.n_pending() == 0


def test_while_the_store_is_away_few_events_wait_for_it(log: EventLog, sink: Sink) -> None:
    asked: list[int] = []
    push = sink.push

    def counting(events: Sequence[Interaction], sequences: Sequence[int]) -> None:
        asked.append(len(events))
        push(events, sequences)

    sink.push = counting  # type: ignore[method-assign]
    intake = EventIntake(log, retry_s=60.0)
    intake.connect(sink)
    sink.away = True
    for name in "abcd":
        assert intake.accept(batch(name)) == Receipt(accepted=1, duplicates=0, pushed=False)
    assert (asked, intake.n_pending()) == ([1], 4)

    quick = EventIntake(log, retry_s=1.0)
    quick.connect(sink)
    assert not quick.push_pending()
    sink.away = False
    assert not quick.push_pending(), "it is not due yet"
    time.sleep(1.1)
    assert quick.accept(batch("e")).pushed
    assert (sink.pushed, quick.n_pending()) == (list("abcde"), 0)


def test_events_that_waited_for_a_push_that_fails_do_not_wait_for_the_store_too(
    log: EventLog, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, asked = threading.Event(), threading.Event(), []

    def fail_slowly(events: Sequence[Interaction], sequences: Sequence[int]) -> None:
        asked.append(len(events))
        entered.set()
        assert go_on.wait(5)
        raise ConnectionError("away")

    monkeypatch.setattr(sink, "push", fail_slowly)
    intake = EventIntake(log, retry_s=60.0)
    intake.connect(sink)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(intake.accept, batch("a"))
        assert entered.wait(5)
        others = [pool.submit(intake.accept, batch(name)) for name in "bcde"]
        deadline = time.monotonic() + 5
        while log.count() < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # they wait for the lock
        go_on.set()
        assert [one.result(5) for one in (first, *others)] == [Receipt(1, 0, pushed=False)] * 5
    assert (asked, intake.n_pending()) == ([1], 5)


def test_who_finds_the_store_busy_does_not_use_up_the_try(
    log: EventLog, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.events.intake._LOCK_WAIT_S", 0.01)
    intake = EventIntake(log, retry_s=0.2)
    intake.connect(sink)
    sink.away = True
    assert not intake.accept(batch("a")).pushed
    sink.away = False
    time.sleep(0.21)
    with intake._lock:
        assert not intake.push_pending()
    assert intake.push_pending()
