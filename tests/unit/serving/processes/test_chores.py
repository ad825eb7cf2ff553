"""What fails at each check is counted each time, and logged when it begins and once an hour."""

from __future__ import annotations

from itertools import count

import pytest

from serving.processes import chores
from serving.processes.chores import Chores


def test_a_failure_that_goes_on_is_logged_once_an_hour_whatever_its_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, words, counted = [10.0], count(), list[str]()

    def fail() -> None:
        raise OSError(f"waited {next(words)} s")

    monkeypatch.setattr(chores.time, "monotonic", lambda: now[0])
    done = Chores(counted.append)
    for passed in (0, 1, 3598, 1, 1, 3599):
        now[0] += passed
        done.run({"push": fail, "look": lambda: None})
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "waited 0 s",
        "waited 3 s",
        "waited 5 s",
    ]
    assert counted == ["push"] * 6


def test_another_kind_of_failure_and_the_end_of_it_are_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: str) -> None:
        raise RuntimeError("cannot count")

    done = Chores(refuse)
    for kind in (OSError, ValueError, ValueError):
        done.run({"push": lambda kind=kind: (_ for _ in ()).throw(kind("no"))})
    done.run({"push": lambda: None})
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]


def test_whatever_one_raises_the_others_are_done_and_who_ends_the_process_is_heard() -> None:
    class Panic(BaseException):
        """As of a library that is written in Rust."""

    def fail() -> None:
        raise errors[0]

    errors: list[BaseException] = [Panic("no")]
    counted: list[str] = []
    pushed: list[int] = []
    work = {"look": fail, "push": lambda: pushed.append(1)}
    Chores(counted.append).run(work)
    assert (counted, pushed) == (["look"], [1])
    errors[0] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        Chores(counted.append).run(work)
