"""Who is to be forgotten is buried and waits, both or neither; who waits no more is in no file."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.removals import (
    RemovalError,
    end_waiting,
    keeps_waiting,
    read_waiting,
    request_removal,
    withdraw_removal,
)
from core.tombstones import read_tombstones

_WRITES = ("replace", "rename", "fsync", "unlink", "mkdir")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "shop" / "to_forget.json", tmp_path / "shop" / "forgotten.json"


def texts(files: tuple[Path, Path]) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted(files[0].parent.iterdir()))


def test_who_is_to_be_forgotten_is_buried_and_waits_once(files: tuple[Path, Path]) -> None:
    first = request_removal(*files, "17850.0")
    assert request_removal(*files, " 17850") == first
    assert request_removal(*files, "u2").receipt == first.receipt + 1
    assert read_waiting(files[0]) == ("17850.0", "u2")
    assert read_tombstones(files[1]).holds("17850")
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


@pytest.mark.parametrize("user", ["", "  ", "x" * 3000])
def test_no_id_waits_that_is_none(files: tuple[Path, Path], user: str) -> None:
    with pytest.raises(RemovalError, match="user="):
        request_removal(*files, user)
    assert read_waiting(files[0]) == ()


def test_who_waits_no_more_is_in_no_file(files: tuple[Path, Path]) -> None:
    request_removal(*files, "person-1")
    request_removal(*files, "person-2")
    left = files[0].with_name(".to_forget.json.0a1b2c3d.unfinished")
    left.write_text('{"waiting": [{"user_id": "person-1"}]}', encoding="utf-8")
    assert keeps_waiting(left, files[0])
    assert not keeps_waiting(files[1], files[0])
    end_waiting(files[0], "person-1")
    assert "person-1" not in texts(files)
    assert read_waiting(files[0]) == ("person-2",)
    end_waiting(files[0], "person-2")
    assert not files[0].exists()
    assert read_tombstones(files[1]).holds("person-1")


def test_who_is_taken_back_does_not_wait(files: tuple[Path, Path]) -> None:
    stone = request_removal(*files, "person-1")
    assert withdraw_removal(*files, "person-1") == stone
    assert read_waiting(files[0]) == ()
    assert not read_tombstones(files[1]).holds("person-1")
    assert withdraw_removal(*files, "person-1") is None


def test_a_file_that_cannot_be_read_is_no_empty_one(files: tuple[Path, Path]) -> None:
    request_removal(*files, "person-1")
    files[0].write_text("{", encoding="utf-8")
    for call in (lambda: read_waiting(files[0]), lambda: request_removal(*files, "u2")):
        with pytest.raises(RemovalError, match="wrong fields"):
            call()


def killed_at(number: int, work: Callable[[], Any]) -> bool:
    """Do work in a process of its own that kills itself before its nth write; whether it came so far."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            _count_writes(number)
            work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _count_writes(number: int) -> None:
    seen = 0

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*args, **named)

        return call

    for name in _WRITES:
        setattr(os, name, counted(getattr(os, name)))


def test_a_request_that_is_killed_anywhere_leaves_nobody_buried_who_does_not_wait(tmp_path: Path) -> None:
    number, seen = 1, set()
    while True:
        files = (tmp_path / str(number) / "to_forget.json", tmp_path / str(number) / "forgotten.json")
        was_killed = killed_at(number, lambda: request_removal(*files, "person-1"))  # noqa: B023
        buried, waits = read_tombstones(files[1]).holds("person-1"), read_waiting(files[0]) == ("person-1",)
        assert waits or not buried
        seen.add((buried, waits))
        stone = request_removal(*files, "person-1")
        assert stone.receipt == 1
        end_waiting(files[0], "person-1")
        assert "person-1" not in texts(files)
        if not was_killed:
            break
        number += 1
    assert seen == {(False, False), (False, True), (True, True)}


def test_an_end_that_is_killed_anywhere_is_the_same_done_again(tmp_path: Path) -> None:
    number = 1
    while True:
        files = (tmp_path / str(number) / "to_forget.json", tmp_path / str(number) / "forgotten.json")
        request_removal(*files, "person-1")
        request_removal(*files, "person-2")
        was_killed = killed_at(number, lambda: end_waiting(files[0], "person-1"))  # noqa: B023
        assert read_waiting(files[0]) in (("person-1", "person-2"), ("person-2",))
        end_waiting(files[0], "person-1")
        assert "person-1" not in texts(files)
        assert read_waiting(files[0]) == ("person-2",)
        if not was_killed:
            break
        number += 1
    assert number > 3
