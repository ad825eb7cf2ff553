"""A signal that comes while the main thread is busy is heard of, and handled as ever."""

import signal
import threading
from collections.abc import Iterator

import pytest

from serving.processes.stopping import told_to_stop


@pytest.fixture
def handled() -> Iterator[list[int]]:
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def test_who_handles_the_signal_hears_of_it_too_and_alone_again_afterwards(handled: list[int]) -> None:
    with told_to_stop() as is_told:
        assert not is_told()
        signal.raise_signal(signal.SIGTERM)
        assert is_told()
    signal.raise_signal(signal.SIGTERM)
    assert handled == [signal.SIGTERM] * 2


def test_what_nobody_handles_is_left_as_it_is() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with told_to_stop() as is_told:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
            assert not is_told()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_hears_of_none(handled: list[int]) -> None:
    def wait() -> None:
        with told_to_stop() as is_told:
            inside.set()
            may_go.wait(20)
            told.append(is_told())

    inside, may_go, told = threading.Event(), threading.Event(), list[bool]()
    other = threading.Thread(target=wait)
    other.start()
    assert inside.wait(20)
    signal.raise_signal(signal.SIGTERM)
    may_go.set()
    other.join(20)
    assert (told, handled) == ([False], [signal.SIGTERM])
