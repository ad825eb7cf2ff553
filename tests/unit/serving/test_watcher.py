"""The watcher follows the store, survives what it finds there, and says what is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.promotions import RECORD
from core.storage import write_json
from serving.watcher import Loaded, Promoted, Watcher, find_erased, find_promoted
from tests.unit.serving.processes.slow_loads import loads_at_once


class Store:
    """A model store with one promoted bundle, those to fall back to, and a record of what was loaded from it."""

    def __init__(self) -> None:
        self.newest: str | None = None
        self.earlier: tuple[str, ...] = ()
        self.broken: set[str] = set()
        self.unreadable = False
        self.loads: list[str] = []

    def find(self) -> list[Promoted]:
        if self.unreadable:
            raise PermissionError("no entry")
        return [] if self.newest is None else [Promoted(one, Path("/nowhere")) for one in (self.newest, *self.earlier)]

    def load(self, promoted: Promoted) -> str:
        self.loads.append(promoted.model)
        if promoted.model in self.broken:
            raise ValueError(f"{promoted.model} is damaged")
        return promoted.model.upper()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the watcher's clock."""
    now = [1000.0]
    monkeypatch.setattr("serving.watcher.time.monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def watch(store: Store, **more: object) -> Watcher[str]:
    return Watcher(find=store.find, load=store.load, **{"poll_s": 1.0, "loader": loads_at_once(), **more})  # type: ignore[arg-type]


def test_before_the_first_bundle_it_says_so_and_then_recovers(store: Store) -> None:
    watcher = watch(store)
    watcher.poll()
    assert watcher.loaded is None
    assert watcher.problem is not None
    assert "no bundle has been promoted yet" in watcher.problem
    store.newest = "m:1"
    watcher.poll()
    assert watcher.loaded is not None
    assert (watcher.loaded.model, watcher.loaded.value, watcher.problem) == ("m:1", "M:1", None)


def test_a_bundle_in_service_is_not_loaded_again(store: Store) -> None:
    watcher, store.newest = watch(store), "m:1"
    for _ in range(3):
        watcher.poll()
    assert store.loads == ["m:1"]


def test_it_follows_the_store_forwards_and_back(store: Store) -> None:
    swaps: list[Loaded[str]] = []
    watcher = watch(store, on_swap=swaps.append)
    for newest in ("m:1", "m:2", "m:1"):  # the last is a rollback that removed m:2
        store.newest = newest
        watcher.poll()
    assert [swap.model for swap in swaps] == ["m:1", "m:2", "m:1"]


def test_a_damaged_bundle_keeps_the_old_one_and_is_reported(store: Store) -> None:
    failures: list[int] = []
    watcher, store.newest, store.broken = watch(store, on_failure=lambda: failures.append(1)), "m:1", {"m:2"}
    watcher.poll()
    store.newest = "m:2"
    watcher.poll()
    assert watcher.loaded is not None
    assert watcher.loaded.model == "m:1"
    assert watcher.problem == "m:2 cannot be loaded: m:2 is damaged; in service in its place: m:1"
    assert (watcher.promoted, watcher.falls_back) == ("m:2", True)
    assert failures == [1]
    store.newest = "m:3"
    watcher.poll()
    assert (watcher.loaded.model, watcher.problem, watcher.falls_back) == ("m:3", None, False)


def test_at_the_start_the_last_bundle_that_can_be_loaded_serves(
    store: Store, clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    watcher, store.newest, store.earlier, store.broken = watch(store), "m:3", ("m:2", "m:1"), {"m:3", "m:2"}
    watcher.poll()
    assert watcher.loaded is not None
    assert (watcher.loaded.model, watcher.falls_back) == ("m:1", True)
    told = "m:3 cannot be loaded: m:3 is damaged; in service in its place: m:1"
    assert watcher.problem == told
    assert told in [record.message for record in caplog.records]
    watcher.poll()
    assert store.loads == ["m:3", "m:2", "m:1"]
    store.broken = set()  # the part that they lacked is there again
    clock(1.0)
    watcher.poll()
    assert (watcher.loaded.model, watcher.problem, watcher.falls_back) == ("m:3", None, False)


def test_a_rollback_to_a_bundle_that_cannot_be_loaded_goes_on_to_the_one_before(store: Store) -> None:
    watcher, store.newest, store.broken = watch(store), "m:3", {"m:2"}
    watcher.poll()
    store.newest, store.earlier = "m:2", ("m:1",)  # m:3 is withdrawn
    watcher.poll()
    assert watcher.loaded is not None
    assert watcher.loaded.model == "m:1"
    store.earlier, store.broken = (), {"m:2", "m:1"}
    watcher.poll()
    assert watcher.loaded.model == "m:1"  # better than none


def test_a_bundle_that_learned_from_somebody_forgotten_answers_no_more_even_where_no_other_can(store: Store) -> None:
    store.newest, erased = "m:1", set[str]()
    watcher = watch(store, find_erased=lambda: erased)
    watcher.poll()
    store.newest, store.broken = "m:2", {"m:2"}
    watcher.poll()
    assert watcher.loaded is not None
    erased.add("m:1")
    watcher.poll()
    assert watcher.loaded is None
    assert watcher.problem == (
        "m:2 cannot be loaded: m:2 is damaged; m:1 learned from somebody who is forgotten, and answers no more"
    )
    watcher.poll()
    assert watcher.problem == "m:2 cannot be loaded: m:2 is damaged"
    store.newest = None
    for model in ("m:3", None):  # in the place of one, and of nothing
        store.newest = model
        watcher.poll()
        erased.add("m:3")
    assert watcher.loaded is None
    store.newest = "m:4"
    watcher.poll()
    assert watcher.loaded is not None
    assert watcher.problem is None


def test_what_could_not_be_loaded_is_tried_at_once_where_nothing_is_left_to_answer(
    store: Store, clock: Callable[[float], None]
) -> None:
    store.newest, erased, told = "m:1", set[str](), list[int]()
    watcher = watch(store, find_erased=lambda: erased, on_let_go=lambda: told.append(1))
    watcher.poll()
    store.newest, store.broken = "m:2", {"m:2"}
    for wait_s in (0.0, 1.0, 2.0, 4.0, 8.0):
        clock(wait_s)
        watcher.poll()
    store.broken = set()
    watcher.poll()
    assert watcher.loaded is not None
    assert (watcher.loaded.model, told) == ("m:1", [])  # for another fifteen seconds
    erased.add("m:1")
    watcher.poll()
    assert (watcher.loaded, told) == (None, [1])
    watcher.poll()
    assert watcher.loaded is not None
    assert (watcher.loaded.model, watcher.problem, told) == ("m:2", None, [1])


def test_what_is_promoted_comes_from_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert find_promoted("m") == []
    (tmp_path / "models" / "m").mkdir(parents=True)
    changes = [
        {"at": "", "action": action, "version": version, "digest": version, "withdrawn": withdrawn}
        for action, version, withdrawn in [
            ("promoted", "a", []),
            ("promoted", "b", []),
            ("promoted", "c", []),
            ("rolled back", "b", ["c"]),
        ]
    ]
    write_json(tmp_path / "models" / "m" / RECORD, {"changes": changes})
    assert [one.model for one in find_promoted("m")] == ["m:b", "m:a"]
    assert find_erased("m") == frozenset()
    # One is gone, of the other it is known only that it has to go: it answers until another does.
    erased = [{"version": version, "digest": digest, "at": ""} for version, digest in (("a", "a"), ("", "b"))]
    write_json(tmp_path / "models" / "m" / RECORD, {"changes": changes, "erased": erased})
    assert find_erased("m") == {"m:a"}
    assert find_promoted("m")[0].folder == tmp_path / "models" / "m" / "b"


def test_a_damaged_bundle_is_tried_again_ever_more_rarely(store: Store, clock: Callable[[float], None]) -> None:
    watcher, store.newest, store.broken = watch(store), "m:1", {"m:1"}
    tries = []
    for _ in range(300):
        watcher.poll()
        tries.append(len(store.loads))
        clock(1.0)
    assert tries[:8] == [1, 2, 2, 3, 3, 3, 3, 4]  # after 0, 1, 3, 7 seconds
    assert tries[-1] == 10  # then 15, 31, 63, 123, 183, 243: a minute apart
    assert watcher.problem is not None


def test_a_bundle_that_was_still_being_copied_is_loaded_when_it_is_whole(
    store: Store, clock: Callable[[float], None]
) -> None:
    watcher, store.newest, store.broken = watch(store), "m:1", {"m:1"}
    watcher.poll()
    store.broken = set()
    clock(1.0)
    watcher.poll()
    assert watcher.loaded is not None
    assert watcher.problem is None


def test_going_back_to_the_bundle_in_service_ends_the_problem(store: Store) -> None:
    watcher, store.newest, store.broken = watch(store), "m:1", {"m:2"}
    watcher.poll()
    store.newest = "m:2"
    watcher.poll()
    store.newest = "m:1"
    watcher.poll()
    assert watcher.problem is None


def test_an_unreadable_or_emptied_store_keeps_the_old_one(store: Store) -> None:
    watcher, store.newest = watch(store), "m:1"
    watcher.poll()
    store.unreadable = True
    watcher.poll()
    assert watcher.problem == "the model store cannot be read: no entry"
    store.unreadable, store.newest = False, None
    watcher.poll()
    assert watcher.loaded is not None
    assert watcher.problem is not None


def test_a_problem_is_logged_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    watcher = watch(store)
    store.unreadable = True
    for _ in range(5):
        watcher.poll()
    assert [record.message for record in caplog.records] == ["the model store cannot be read: no entry"]


def test_what_follows_a_swap_or_the_letting_go_or_a_poll_cannot_stop_it(store: Store) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    erased = set[str]()
    watcher = watch(store, on_swap=fail, on_let_go=fail, on_poll=fail, find_erased=lambda: erased)
    for newest in ("m:1", "m:2"):
        store.newest = newest
        watcher.poll()
    assert watcher.loaded is not None
    assert watcher.loaded.model == "m:2"
    store.newest = None
    erased.add("m:2")
    watcher.poll()
    assert watcher.loaded is None


def test_the_thread_goes_on_after_whatever_a_library_raises(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    class Panic(BaseException):
        """As of a library that is written in Rust."""

    def fail() -> None:
        if store.loads == ["m:1"]:
            failed.append(1)
            if len(failed) == 3:
                store.newest = "m:2"
            raise Panic("no")

    failed: list[int] = []
    counted: list[int] = []
    swapped = threading.Event()
    watcher = watch(
        store,
        poll_s=0.01,
        on_poll=fail,
        on_failure=lambda: counted.append(1),
        on_swap=lambda loaded: swapped.set() if loaded.model == "m:2" else None,
    )
    watcher.start()
    store.newest = "m:1"
    assert swapped.wait(20)
    watcher.stop()
    assert len(failed) == len(counted) == 3
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["Panic: no"]


def test_the_thread_follows_and_stops(store: Store) -> None:
    swapped = threading.Event()
    watcher = watch(store, poll_s=0.01, on_swap=lambda _: swapped.set())
    watcher.start()
    store.newest = "m:1"
    assert swapped.wait(5)
    watcher.stop()
    store.newest = "m:2"
    time.sleep(0.05)
    assert store.loads == ["m:1"]
    assert not any(thread.name == "bundle-watcher" for thread in threading.enumerate())
