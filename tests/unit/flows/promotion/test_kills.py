"""A promotion or rollback that is killed at any of its writes leaves a whole bundle in service, and can be repeated."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.promotions import list_versions, read_standing, version_in_service
from flows.promotion.bundles import version_rows
from flows.promotion.model_store import find_fault, promote, roll_back
from serving.watcher import find_promoted
from tests.unit.flows.promotion.written_bundle import write_bundle

STORE = "sommelier-killed"
WRITES = ((os, "mkdir"), (os, "rename"), (os, "replace"), (os, "fsync"), (os, "unlink"), (shutil, "copyfile"))
MOST_WRITES = 200


@pytest.fixture
def start(tmp_path: Path) -> Callable[[Path], dict[str, Path]]:
    """Bundles, of which `a` and `b` are promoted in a store in the given folder."""
    bundles = {name: write_bundle(tmp_path / "bundles" / name, name) for name in "abc"}

    def prepare(home: Path) -> dict[str, Path]:
        os.environ["BENTOML_HOME"] = str(home)
        for name in "ab":
            promote(bundles[name], STORE, {"digest": name})
        return bundles

    return prepare


@pytest.fixture(autouse=True)
def home() -> Iterator[None]:
    before = os.environ["BENTOML_HOME"]
    yield
    os.environ["BENTOML_HOME"] = before


def kill_at(number: int, work: Callable[[], Any]) -> bool:
    """Do some work in a process of its own that kills itself before its nth write; whether it came so far."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            _count_writes(number)
            work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _count_writes(number: int) -> None:
    seen = [0]

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            seen[0] += 1
            if seen[0] == number:
                if write.__name__ == "copyfile":
                    Path(args[1]).write_bytes(Path(args[0]).read_bytes()[:3])  # in the midst of the file
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*args, **more)

        return call

    for module, name in WRITES:
        setattr(module, name, counted(getattr(module, name)))


def check_whole() -> str:
    """Everybody agrees on what is in service, and it is whole; its digest."""
    version = version_in_service(STORE)
    assert version is not None
    assert find_fault(version) is None
    assert all(find_fault(one) is None for one in list_versions(STORE))
    assert [row["version"] for row in version_rows(STORE) if row["state"] == "in service"] == [version.version]
    assert find_promoted(STORE)[0].model == version.tag
    return version.digest


def test_a_promotion_that_is_killed(tmp_path: Path, start: Callable[[Path], dict[str, Path]]) -> None:
    found = []
    for number in range(1, MOST_WRITES):
        home = tmp_path / str(number)
        bundles = start(home)
        if not kill_at(number, lambda: promote(bundles["c"], STORE, {"digest": "c"})):  # noqa: B023
            break
        found.append(check_whole())
        promote(bundles["c"], STORE, {"digest": "c"})
        assert check_whole() == "c"
        assert not list((home / "staging").glob(f"{STORE}/*"))
        assert [roll_back(STORE).digest for _ in range(2)] == ["b", "a"]
    assert check_whole() == "c"
    # The record's rename is where the one comes to be in service for the other.
    assert set(found) == {"b", "c"}
    assert found == sorted(found)


def test_a_first_promotion_that_is_killed(tmp_path: Path, start: Callable[[Path], dict[str, Path]]) -> None:
    bundles = start(tmp_path / "other")
    found = []
    for number in range(1, MOST_WRITES):
        os.environ["BENTOML_HOME"] = str(tmp_path / str(number))
        if not kill_at(number, lambda: promote(bundles["a"], STORE, {"digest": "a"})):
            break
        found.append(check_whole() if version_in_service(STORE) else "")
        promote(bundles["a"], STORE, {"digest": "a"})
        assert check_whole() == "a"
    assert set(found) == {"", "a"}
    assert found == sorted(found)


def test_a_rollback_that_is_killed(tmp_path: Path, start: Callable[[Path], dict[str, Path]]) -> None:
    found = []
    for number in range(1, MOST_WRITES):
        start(tmp_path / str(number))
        if not kill_at(number, lambda: roll_back(STORE)):
            break
        found.append(check_whole())
        assert (read_standing(STORE).withdrawn == {"b"}) is (found[-1] == "a")
    assert check_whole() == "a"
    assert set(found) == {"a", "b"}
    assert found == sorted(found, reverse=True)
