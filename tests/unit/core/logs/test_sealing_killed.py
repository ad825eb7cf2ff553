"""Who seals or erases may be killed anywhere while others append and read: no event is lost, and none doubled."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from core.logs import sealing
from core.logs.events import EventLog
from core.logs.sealed import find_segments
from core.storage import UNFINISHED
from tests.unit.core.logs.test_sealing import LATER, NOON, event, in_table, some


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments and batches of few events."""
    monkeypatch.setattr(sealing, "SEGMENT_ROWS", 4)
    monkeypatch.setattr(sealing, "_BATCH_ROWS", 3)


class Killed(BaseException):
    """Where the process would have ended."""


def steps_of(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
    """Have the n-th write of whoever seals or erases be the last; how many there were."""
    n = 0

    def before() -> None:
        nonlocal n
        n += 1
        if n == at:
            raise Killed

    def watched(call: Callable[..., object]) -> Callable[..., object]:
        def one(*arguments: object, **named: object) -> object:
            before()
            return call(*arguments, **named)

        return one

    for module, name in ((os, "fsync"), (os, "replace"), (os, "mkdir"), (os, "unlink")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    connect = sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, statement: str, *parameters: object) -> sqlite3.Cursor:
            if not statement.lstrip().startswith(("SELECT", "BEGIN", "ROLLBACK")):
                before()
            return super().execute(statement, *parameters)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **named: connect(*a, **{**named, "factory": Watched}))
    return lambda: n


@pytest.mark.parametrize("work", ["seal", "erase"])
def test_a_kill_at_any_write_loses_and_doubles_nothing(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    log = EventLog(tmp_path / "shop" / "events.sqlite", above=0)
    log.append([event(f"{n}", "v" if n in (1, 5, 7) else "u") for n in range(6)])
    log.seal(LATER, at_least=1)
    log.append([event("6"), event("7", "v"), event("8")])
    log.close()
    before = (list(log.read()), log.count(), log.since(NOON))
    stays = [row for row in list(log.read()) if row[1].user_id == "u"]

    def do(one: EventLog) -> None:
        if work == "seal":
            one.seal(LATER, at_least=1)
        else:
            one.erase(lambda user: user == "v")

    n_kills = 0
    for at in range(1, 200):
        place = tmp_path / f"{at}"
        shutil.copytree(log.path.parent, place)
        one = EventLog(place / "events.sqlite")
        with monkeypatch.context() as patch:
            steps_of(patch, at)
            try:
                do(one)
            except Killed:
                n_kills += 1
            else:
                break
            finally:
                with suppress(Killed):
                    one.close()
        again = EventLog(place / "events.sqlite")
        if work == "seal":
            assert (list(again.read()), again.count(), again.since(NOON)) == before, at
        else:
            assert [row for row in again.read() if row[1].user_id == "u"] == stays, at
        do(again)
        if work == "seal":
            assert (list(again.read()), again.count(), again.since(NOON)) == before, at
            assert in_table(again) == [], at
        else:
            assert list(again.read()) == stays, at
            assert again.count() == len(stays), at
        assert again.append(some("0", "6")) == [], at
        assert not list(place.rglob(f"*{UNFINISHED}")), at
        again.close()
        shutil.rmtree(place)
    assert n_kills > 12


_SEALER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from core.logs import event_pages, sealing
from core.logs.events import EventLog
sealing.SEGMENT_ROWS, sealing._BATCH_ROWS = 60, 40
log = EventLog(Path(sys.argv[1]))
while True:
    print(log.seal(datetime(2100, 1, 1, tzinfo=UTC), at_least=20), flush=True)
    time.sleep(0.002)
"""


def test_nothing_is_lost_or_doubled_where_all_append_read_and_seal_at_once_and_are_killed(tmp_path: Path) -> None:
    path, drawn, done = tmp_path / "events.sqlite", random.Random(0), threading.Event()
    logs = [EventLog(path, above=0), EventLog(path, above=0)]

    def append(thread: int) -> int:
        batch = 0
        while not done.is_set():
            names = [f"{thread}-{batch}-{n}" for n in range(5)]
            assert len(logs[thread].append(some(*names))) == 5
            assert logs[0].append(some(names[0], f"{thread}-{max(batch - 20, 0)}-1")) == []
            batch += 1
            time.sleep(0.01)
        return 5 * batch

    def read() -> int:
        n_reads = 0
        while not done.is_set():
            after = drawn.randrange(50)
            n_before = logs[1].count(after)
            rows = list(logs[1].read(after))
            numbers = [number for number, _ in rows]
            assert numbers == sorted(set(numbers))
            assert n_before <= len(rows) == len({one.event_id for _, one in rows})
            assert len(rows) <= len(logs[1].since(NOON))
            n_reads += 1
        return n_reads

    with ThreadPoolExecutor(3) as pool:
        appending, reading = [pool.submit(append, thread) for thread in range(2)], pool.submit(read)
        try:
            for _ in range(4):
                command = [sys.executable, "-c", _SEALER, str(path)]
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sealer:
                    assert sealer.stdout is not None
                    while sealer.stdout.readline() == "0\n":
                        pass
                    time.sleep(drawn.random() / 5)
                    sealer.kill()
        finally:
            done.set()
        n_appended = sum(one.result() for one in appending)
        assert reading.result() > 0
    assert len(find_segments(logs[0].sealed)) > 1
    logs[0].seal(LATER, at_least=1)
    names = [one.event_id for _, one in logs[0].read()]
    assert len(names) == len(set(names)) == n_appended
    assert in_table(logs[0]) == []
