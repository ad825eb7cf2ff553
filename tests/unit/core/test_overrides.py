"""What clients say of items and users is kept, merged, followed, and removed without a trace."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from core.overrides import Override, OverrideError, OverrideRefused, Overrides

SAYS = {"title": "A kettle", "price": 9.5}


@pytest.fixture
def overrides(tmp_path: Path) -> Overrides:
    return Overrides(tmp_path / "deep" / "overrides.sqlite")


def test_a_file_that_does_not_exist_says_nothing_and_stays_away(overrides: Overrides) -> None:
    assert overrides.find("items", "i1") is None
    assert list(overrides.since("items")) == []
    assert overrides.newest() == 0
    assert overrides.erase_users(lambda _: True) == 0
    assert not overrides.path.parent.exists()


def test_what_is_given_joins_what_was_said_and_null_takes_it_back(overrides: Overrides) -> None:
    overrides.patch("items", " i1 ", SAYS, {"colour": "red"})
    found = overrides.patch("items", "i1", {"price": 12.0, "title": None}, {"size": "XL"}, is_available=False)
    assert (found.id, found.fields, found.attributes) == ("i1", {"price": 12.0}, {"colour": "red", "size": "XL"})
    assert found.is_hidden
    assert overrides.find("items", "i1") == found
    assert overrides.find("users", "i1") is None
    again = overrides.patch("items", "i1", {"price": None}, {"colour": None, "size": None})
    assert not again.says_something
    assert again.is_hidden


def test_what_was_deleted_is_hidden_until_it_is_said_again(overrides: Overrides) -> None:
    overrides.patch("items", "i1", SAYS, {}, is_available=False)
    gone = overrides.delete("items", "i1")
    assert gone.is_hidden
    assert not gone.says_something
    back = overrides.patch("items", "i1", {"brand": "Acme"}, {})
    assert (back.fields, back.is_hidden) == ({"brand": "Acme"}, False)


def test_a_reader_that_remembers_a_version_sees_each_later_change_once(overrides: Overrides) -> None:
    for item in ("a", "b"):
        overrides.patch("items", item, SAYS, {})
    overrides.patch("users", "u", {}, {"age": "34"})
    first = list(overrides.since("items"))
    assert [one.id for one in first] == ["a", "b"]
    assert overrides.newest() == 3
    overrides.patch("items", "a", {"price": 1.0}, {})
    overrides.patch("items", "a", {"price": 2.0}, {})
    (later,) = overrides.since("items", first[-1].version)
    assert (later.id, later.fields["price"]) == ("a", 2.0)


@pytest.mark.parametrize("bad", ["", "  ", "a\x00b", "x" * 3000])
def test_an_id_that_is_none_is_refused(overrides: Overrides, bad: str) -> None:
    with pytest.raises(OverrideError, match="expected an id"):
        overrides.patch("items", bad, SAYS, {})


def test_of_a_forgotten_user_nothing_is_kept(tmp_path: Path) -> None:
    overrides = Overrides(tmp_path / "o.sqlite", is_forgotten=lambda user: user == "u1")
    with pytest.raises(OverrideRefused, match="a user who was not forgotten"):
        overrides.patch("users", "u1", {}, {"age": "34"})
    assert overrides.newest() == 0
    assert overrides.patch("items", "u1", SAYS, {}).says_something


def test_a_removed_user_leaves_no_byte_and_the_others_stay(overrides: Overrides) -> None:
    overrides.patch("users", "zora-person", {}, {"age": "secret-34"})
    overrides.patch("users", "other", {}, {"age": "35"})
    overrides.patch("items", "zora-person", SAYS, {})
    assert overrides.erase_users(lambda user: user == "zora-person") == 1
    left = b"".join(file.read_bytes() for file in overrides.path.parent.iterdir())
    assert b"secret-34" not in left
    assert [one.id for one in overrides.since("users")] == ["other"]
    assert overrides.find("items", "zora-person") is not None
    assert overrides.newest() == 4


def test_threads_and_processes_lose_no_change_of_each_other(overrides: Overrides) -> None:
    def say(number: int) -> None:
        overrides.patch("items", "i", {}, {f"t{number}": "x"})

    code = f"""
from pathlib import Path
from core.overrides import Overrides
for n in range(20): Overrides(Path({str(overrides.path)!r})).patch("items", "i", {{}}, {{f"p{{n}}": "x"}})
"""
    other = subprocess.Popen([sys.executable, "-c", code])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(say, range(20)))
    assert other.wait(60) == 0
    found = overrides.find("items", "i")
    assert found is not None
    assert set(found.attributes) == {f"{who}{n}" for who in "tp" for n in range(20)}
    assert found.version == overrides.newest() == 40


def test_a_file_that_is_no_database_is_an_error_that_says_so(overrides: Overrides) -> None:
    overrides.path.parent.mkdir()
    overrides.path.write_text("no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(OverrideError, match="file is not a database"):
        list(overrides.since("items"))
    with pytest.raises(OverrideError, match="file is not a database"):
        overrides.patch("items", "i", SAYS, {})


def test_a_write_that_fails_leaves_what_was_there(overrides: Overrides) -> None:
    overrides.patch("items", "i", SAYS, {})
    with closing(sqlite3.connect(overrides.path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER no BEFORE UPDATE ON overrides BEGIN SELECT RAISE(ABORT, 'disk I/O'); END")
        with pytest.raises(OverrideError, match="disk I/O"):
            overrides.patch("items", "i", {"price": 1.0}, {})
        other.execute("DROP TRIGGER no")
    assert overrides.find("items", "i") == Override(
        "i", SAYS, {}, changed_at=overrides.find("items", "i").changed_at, version=1
    )  # type: ignore[union-attr]
