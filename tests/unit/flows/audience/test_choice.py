"""Who belongs to an audience, in an order that does not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.audience.choice import active_users, named_users
from flows.errors import NoAudience
from tests.unit.features.shops import Row, write_shop

ROWS = [Row("old", "a", 1, 4.0), Row("new", "a", 9, 4.0), Row("odd", "b", 5, 4.0), Row("new", "b", 2, 4.0)]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    write_shop(
        tmp_path / "clean", ROWS, users={"old": {"job": "cook"}, "new": {"job": "o'clock"}, "odd": {}, "idle": {}}
    )
    return tmp_path / "clean"


def test_those_come_first_who_were_active_last(clean: Path) -> None:
    assert active_users(clean, 10) == ["new", "odd", "old"]
    assert active_users(clean, 2) == ["new", "odd"]


def test_a_segment_is_an_attribute_with_a_value(clean: Path) -> None:
    assert active_users(clean, 10, "job=cook") == ["old"]
    assert active_users(clean, 10, "job=o'clock") == ["new"]
    assert active_users(clean, 10, "job=") == []


@pytest.mark.parametrize("segment", ["town=here", "user_id=old", "job"])
def test_an_attribute_that_users_do_not_have_is_an_error_that_names_those_they_have(clean: Path, segment: str) -> None:
    if segment == "job":  # of a known attribute that is nothing
        assert active_users(clean, 10, segment) == []
        return
    with pytest.raises(NoAudience, match=rf"segment={segment}, expected attribute=value, .* \['job'\]"):
        active_users(clean, 10, segment)


def test_named_users_come_once_each_as_the_tables_write_them(tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_text("u2\n\n 17850.0 \nu1\n")
    assert named_users(("u1", " u1", "17850"), file) == ["u1", "17850", "u2"]
    assert named_users((), None) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoAudience, match=r"users_file=.*gone.txt, expected a text file .* FileNotFoundError"):
        named_users((), tmp_path / "gone.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(NoAudience, match="UnicodeDecodeError"):
        named_users((), tmp_path / "binary")
