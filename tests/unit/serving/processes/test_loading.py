"""Bundles are loaded while the store is followed: no load holds up a rollback, and nothing serves that came late."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import beginning
from serving.beginning import Settling
from serving.processes.loading import Loader, Wishes
from serving.watcher import Promoted, Watcher
from tests.unit.serving.processes.slow_loads import WAIT_S, SlowLoads


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the watcher's clock."""
    now = [1000.0]
    monkeypatch.setattr("serving.watcher.time.monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


class Followed:
    """A watcher of a store whose bundles are loaded slowly, and what it did.

    Attributes:
        store: The bundle that is promoted, and those before it.
    """

    def __init__(self, loads: SlowLoads, poll_s: float = 1.0) -> None:
        self.store: list[str] = []
        self.erased: set[str] = set()
        self.at_hand: dict[str, str] = {}
        self.polls = self.failures = 0
        self.swaps: list[str] = []
        self.watcher: Watcher[str] = Watcher(
            find=lambda: [Promoted(one, Path("/nowhere")) for one in self.store],
            load=loads.load,
            find_erased=lambda: self.erased,
            on_swap=lambda loaded: self.swaps.append(loaded.model),
            on_poll=self._note_poll,
            on_failure=self._note_failure,
            poll_s=poll_s,
            at_hand=self.at_hand.get,
            loader=loads.loader,
        )

    def poll(self, *promoted: str) -> str | None:
        """What serves after a check that finds these."""
        self.store = [*promoted]
        self.watcher.poll()
        return None if self.watcher.loaded is None else self.watcher.loaded.model

    def _note_poll(self) -> None:
        self.polls += 1

    def _note_failure(self) -> None:
        self.failures += 1


@pytest.fixture
def followed(loads: SlowLoads) -> Followed:
    """With m:1 in service."""
    made = Followed(loads)
    made.poll("m:1")
    loads.end("m:1")
    assert made.poll("m:1") == "m:1"
    return made


def test_a_load_that_goes_on_for_too_long_is_named_wished_or_not(
    loads: SlowLoads, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = Followed(loads)
    followed.poll("m:1")
    loads.wait_until_begun("m:1")
    loads.loader.check()
    assert loads.loader.is_loading
    monkeypatch.setattr("serving.processes.loading._LONG_S", 0.0)
    assert not loads.loader.is_loading  # what waits for its end would wait for ever
    with pytest.raises(TimeoutError, match=r"minutes or more: m:1\. "):
        loads.loader.check()
    followed.poll("m:2")
    loads.wait_until_begun("m:1", "m:2")
    with pytest.raises(TimeoutError, match=r"minutes or more: m:1, m:2\. "):
        loads.loader.check()
    loads.end("m:1")
    loads.end("m:2")
    loads.loader.check()


def test_the_store_is_followed_and_its_chores_are_done_while_a_bundle_is_loaded(
    loads: SlowLoads, followed: Followed
) -> None:
    before = followed.polls
    for _ in range(3):
        assert followed.poll("m:2", "m:1") == "m:1"
    loads.wait_until_begun("m:1", "m:2")
    watcher = followed.watcher
    assert (followed.polls - before, watcher.promoted, watcher.problem, watcher.falls_back) == (3, "m:2", None, False)
    loads.end("m:2")
    assert watcher.loaded is not None
    assert watcher.loaded.model == "m:1"  # the thread that follows the store swaps, and no other
    assert followed.poll("m:2", "m:1") == "m:2"
    assert (followed.swaps, loads.begun) == (["m:1", "m:2"], ["m:1", "m:2"])


@pytest.mark.parametrize("when", ["while it is loaded", "when it is loaded"])
def test_what_was_taken_back_meanwhile_never_serves(loads: SlowLoads, followed: Followed, when: str) -> None:
    followed.poll("m:2", "m:1")
    if when == "when it is loaded":
        loads.end("m:2")
    assert followed.poll("m:1") == "m:1"
    if when == "while it is loaded":
        loads.end("m:2")
        assert loads.in_vain == 1
    assert followed.poll("m:1") == "m:1"
    assert (followed.swaps, followed.watcher.problem) == (["m:1"], None)
    followed.poll("m:2", "m:1")
    loads.wait_until_begun("m:1", "m:2", "m:2")  # nothing of the first was kept


def test_a_rollback_to_what_is_not_in_memory_does_not_wait_for_what_it_takes_back(
    loads: SlowLoads, followed: Followed
) -> None:
    followed.poll("m:2", "m:1", "m:0")
    loads.wait_until_begun("m:1", "m:2")
    followed.poll("m:0")
    loads.wait_until_begun("m:1", "m:2", "m:0")
    loads.end("m:0")
    assert followed.poll("m:0") == "m:0"
    loads.end("m:2")
    assert followed.poll("m:0") == "m:0"
    assert (followed.swaps, loads.in_vain) == (["m:1", "m:0"], 1)


def test_never_more_than_two_are_loaded_and_the_newest_wish_comes_next(loads: SlowLoads, followed: Followed) -> None:
    for model in ("m:2", "m:3", "m:4", "m:5"):
        followed.poll(model, "m:1")
    loads.wait_until_begun("m:1", "m:2", "m:3")
    loads.end("m:2")
    followed.poll("m:5", "m:1")
    loads.wait_until_begun("m:1", "m:2", "m:3", "m:5")
    loads.end("m:3")
    loads.end("m:5")
    assert followed.poll("m:5", "m:1") == "m:5"
    assert (followed.swaps, loads.most, loads.in_vain) == (["m:1", "m:5"], 2, 2)


def test_what_is_promoted_again_while_its_load_goes_on_is_not_loaded_twice(
    loads: SlowLoads, followed: Followed
) -> None:
    for promoted in (("m:2", "m:1"), ("m:1",), ("m:2", "m:1")):
        followed.poll(*promoted)
    loads.end("m:2")
    assert followed.poll("m:2", "m:1") == "m:2"
    assert (loads.begun, loads.in_vain) == (["m:1", "m:2"], 0)


def test_a_load_that_fails_is_reported_and_tried_again_as_ever(
    loads: SlowLoads, followed: Followed, clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    loads.broken = {"m:2"}
    told = "m:2 cannot be loaded: m:2 is damaged; in service in its place: m:1"
    for number, wait_s in enumerate((1.0, 2.0), start=1):
        followed.poll("m:2", "m:1")
        loads.wait_until_begun("m:1", *["m:2"] * number)
        loads.end("m:2")
        followed.poll("m:2", "m:1")
        assert (followed.watcher.problem, followed.watcher.falls_back, followed.failures) == (told, True, number)
        clock(wait_s)
    assert [record.message for record in caplog.records] == [told.partition(";")[0], told]
    loads.broken = set()
    followed.poll("m:2", "m:1")
    assert (followed.watcher.problem, followed.watcher.falls_back) == (told, True)  # while it is tried again
    loads.end("m:2")
    assert followed.poll("m:2", "m:1") == "m:2"
    assert (followed.watcher.problem, followed.watcher.falls_back) == (None, False)


def test_what_serves_in_the_place_of_a_damaged_bundle_is_not_given_up_to_try_that_again(
    loads: SlowLoads, clock: Callable[[float], None]
) -> None:
    followed, loads.broken = Followed(loads), {"m:2"}
    followed.poll("m:2", "m:1")
    assert followed.watcher.problem == "m:2 is being loaded"
    loads.end("m:2")
    followed.poll("m:2", "m:1")
    loads.wait_until_begun("m:2", "m:1")
    for _ in range(3):
        clock(100.0)
        followed.poll("m:2", "m:1")
    assert loads.begun == ["m:2", "m:1"]
    loads.end("m:1")
    assert followed.poll("m:2", "m:1") == "m:1"
    followed.poll("m:2", "m:1")
    loads.wait_until_begun("m:2", "m:1", "m:2")


@pytest.mark.parametrize("broken", [False, True])
def test_what_learned_from_somebody_forgotten_answers_until_the_load_of_its_successor_has_ended(
    loads: SlowLoads, followed: Followed, broken: bool
) -> None:
    followed.poll("m:2")
    followed.erased.add("m:1")
    for _ in range(2):
        assert followed.poll("m:2") == "m:1"
    loads.broken = {"m:2"} if broken else set()
    loads.end("m:2")
    assert followed.poll("m:2") == (None if broken else "m:2")


def test_what_learned_from_somebody_forgotten_does_not_wait_for_a_load_that_cannot_begin(
    loads: SlowLoads, followed: Followed
) -> None:
    for model in ("m:2", "m:3"):
        assert followed.poll(model) == "m:1"
    loads.wait_until_begun("m:1", "m:2", "m:3")
    followed.erased.add("m:1")
    assert followed.poll("m:3") == "m:1"
    assert followed.poll("m:4") is None  # both places are taken, by what was taken back
    loads.end("m:2")
    followed.poll("m:4")
    loads.wait_until_begun("m:1", "m:2", "m:3", "m:4")
    loads.end("m:4")
    assert followed.poll("m:4") == "m:4"


def test_what_is_in_memory_for_an_experiment_serves_at_once(loads: SlowLoads, followed: Followed) -> None:
    followed.poll("m:2", "m:1")
    loads.wait_until_begun("m:1", "m:2")
    followed.at_hand["m:0"] = "M:0"
    assert followed.poll("m:0") == "m:0"
    loads.end("m:2")
    assert followed.poll("m:0") == "m:0"
    assert loads.begun == ["m:1", "m:2"]


@pytest.mark.parametrize("broken", [(), ("m:2",), ("m:2", "m:1")])
def test_a_start_waits_for_the_first_bundle_that_can_be_loaded_and_no_longer(
    loads: SlowLoads, broken: tuple[str, ...]
) -> None:
    followed, loads.broken = Followed(loads, poll_s=1000.0), {*broken}  # the end of a load calls it
    followed.store = ["m:2", "m:1"]
    starting = threading.Thread(target=followed.watcher.start)
    starting.start()
    for model in ("m:2", "m:1")[: 1 + len(broken)]:
        assert starting.is_alive()
        loads.let_go(model)
    starting.join(WAIT_S)
    assert not starting.is_alive()
    expected = None if len(broken) == 2 else ("m:2", "m:1")[len(broken)]
    assert followed.swaps == [one for one in (expected,) if one]
    followed.watcher.stop()


def test_a_start_that_nobody_needs_any_more_waits_for_no_load(loads: SlowLoads) -> None:
    followed = Followed(loads)
    followed.store = ["m:1"]
    followed.watcher.start(is_over=lambda: bool(loads.begun))
    assert not any(thread.name == "bundle-watcher" for thread in threading.enumerate())
    loads.end("m:1")
    assert (followed.swaps, loads.in_vain) == ([], 1)


def test_it_stops_without_waiting_for_a_load_and_what_ends_then_is_let_go(loads: SlowLoads) -> None:
    followed = Followed(loads, poll_s=0.01)
    loads.let_go("m:1")
    followed.store = ["m:1"]
    followed.watcher.start()
    followed.store = ["m:2", "m:1"]
    loads.wait_until_begun("m:1", "m:2")
    followed.watcher.stop()
    assert not any(thread.name == "bundle-watcher" for thread in threading.enumerate())
    loads.end("m:2")
    assert followed.poll("m:3", "m:1") == "m:1"
    assert (loads.begun, loads.in_vain) == (["m:1", "m:2"], 1)


def test_what_is_loaded_is_finished_by_who_asks_for_it_and_where_that_fails_the_load_did() -> None:
    finished: list[tuple[str, threading.Thread]] = []

    def finish(loaded: str) -> None:
        finished.append((loaded, threading.current_thread()))
        if len(finished) == 2:
            raise OSError("no")

    loader: Loader[str] = Loader(finish)
    wishes = Wishes(loader, serves=True)

    def load(model: str) -> str:
        may_load.wait(WAIT_S)
        return model.upper()

    def loaded(model: str) -> str:
        may_load.clear()
        assert wishes.ask(model, lambda: load(model)) is None
        may_load.set()
        loader.wait(WAIT_S)
        ended = wishes.ask(model, lambda: load(model))
        assert ended is not None
        return ended.result()

    may_load = threading.Event()
    assert loaded("m:1") == "M:1"
    with pytest.raises(OSError, match="no"):
        loaded("m:2")
    assert finished == [(model, threading.current_thread()) for model in ("M:1", "M:2")]


def test_where_the_system_gives_no_thread_the_load_has_failed() -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    ended = Wishes(Loader[str](start=refuse), serves=True).ask("m:1", lambda: "M:1")
    assert ended is not None
    with pytest.raises(RuntimeError, match="new thread"):
        ended.result()


class Panic(BaseException):
    """As of a library that is written in Rust."""


@pytest.mark.parametrize("error", [Panic("index out of bounds"), SystemExit("no such GPU")])
def test_whatever_a_load_raises_it_has_failed_and_the_next_one_begins(error: BaseException) -> None:
    def break_down() -> str:
        raise error

    loader: Loader[str] = Loader()

    def ended(whose: Wishes[str], load: Callable[[], str]) -> str:
        told = whose.ask("m:1", load)
        if told is None:
            loader.wait(WAIT_S)
            told = whose.ask("m:1", load)
        assert told is not None
        return told.result()

    for serves in (True, False):
        wishes = Wishes(loader, serves=serves)
        with pytest.raises(RuntimeError, match=f"^{type(error).__name__}: {error}$") as failed:
            ended(wishes, break_down)
        assert failed.value.__cause__ is error
        assert not loader.is_loading
        assert ended(wishes, lambda: "M:1") == "M:1"


def test_whatever_finishing_raises_the_load_has_failed() -> None:
    def finish(_: str) -> None:
        raise Panic("no")

    ended = Wishes(Loader[str](finish, start=lambda run: run()), serves=True).ask("m:1", lambda: "M:1")
    assert ended is not None
    with pytest.raises(RuntimeError, match=r"^Panic: no$"):
        ended.result()


def test_what_has_ended_while_it_is_closed_is_handed_to_nobody() -> None:
    def run_and_close(run: Callable[[], None]) -> None:
        run()
        loader.close()

    finished: list[str] = []
    loader: Loader[str] = Loader(finished.append, start=run_and_close)
    assert Wishes(loader, serves=True).ask("m:1", lambda: "M:1") is None
    assert finished == []


def test_memory_is_settled_when_nothing_is_loaded_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[int] = []
    monkeypatch.setattr(beginning, "settle_memory", lambda: settled.append(1))
    is_loading = [True]
    memory = Settling(lambda: is_loading[0])
    memory.run()
    memory.ask()
    memory.run()
    assert settled == []
    is_loading[0] = False
    for _ in range(2):
        memory.run()
    assert settled == [1]
