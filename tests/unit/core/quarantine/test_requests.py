"""What is asked to be let in waits once, until it is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.quarantine.requests import (
    MAX_WAITING,
    NotWaiting,
    ReadmissionBegun,
    ReadmissionRequestError,
    begin_request,
    end_request,
    read_requests,
    request_readmission,
    withdraw_request,
    withdraw_requests,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "to_readmit.json"


def test_what_is_asked_for_waits_until_it_is_done(file: Path) -> None:
    assert read_requests(file) == ()
    first = request_readmission(file, "items", None, "why", "key:a")
    second = request_readmission(file, "items", "cheap", "why", "key:a")
    again = request_readmission(file, "items", None, "why indeed", "key:b")
    assert read_requests(file) == (second, again)
    end_request(file, first.id)
    end_request(file, second.id)
    assert read_requests(file) == (again,)
    end_request(file, again.id)
    assert not file.exists()


def test_what_waits_can_be_withdrawn_until_a_run_has_begun_with_it(file: Path) -> None:
    first = request_readmission(file, "items", None, "why", "key:a")
    second = request_readmission(file, "items", "cheap", "why", "key:a")
    assert withdraw_request(file, first.id) == first
    assert read_requests(file) == (second,)
    with pytest.raises(NotWaiting, match=f"id={first.id}"):
        withdraw_request(file, first.id)
    assert begin_request(file, first.id) is False
    assert begin_request(file, second.id) is True
    with pytest.raises(ReadmissionBegun, match=f"id={second.id}"):
        withdraw_request(file, second.id)
    assert begin_request(file, second.id) is True  # again, after a kill
    assert [(one.id, one.begun) for one in read_requests(file)] == [(second.id, True)]
    end_request(file, second.id)
    assert not file.exists()


def test_of_several_all_are_withdrawn_or_none(file: Path) -> None:
    first, second, third = (request_readmission(file, "items", rule, "why", "key:a") for rule in ("a", "b", "c"))
    with pytest.raises(NotWaiting, match="id=made-up"):
        withdraw_requests(file, (first.id, "made-up"))
    begin_request(file, second.id)
    with pytest.raises(ReadmissionBegun, match=f"id={second.id}"):
        withdraw_requests(file, (first.id, second.id))
    assert [one.id for one in read_requests(file)] == [first.id, second.id, third.id]
    assert withdraw_requests(file, (third.id, first.id, third.id)) == (third, first)
    assert [one.id for one in read_requests(file)] == [second.id]


def test_what_a_run_has_begun_with_is_not_replaced_by_the_same_asked_for_anew(file: Path) -> None:
    asked = request_readmission(file, "items", "cheap", "why", "key:a")
    begin_request(file, asked.id)
    with pytest.raises(ReadmissionBegun, match=f"id={asked.id}"):
        request_readmission(file, "items", "cheap", "why again", "key:b")
    other = request_readmission(file, "items", None, "why", "key:a")
    assert [(one.id, one.begun) for one in read_requests(file)] == [(asked.id, True), (other.id, False)]
    end_request(file, asked.id)
    again = request_readmission(file, "items", "cheap", "why again", "key:b")
    assert read_requests(file) == (other, again)


def test_where_nothing_ever_waited_a_withdrawal_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotWaiting, match="id=made-up"):
        withdraw_request(tmp_path / "new" / "to_readmit.json", "made-up")
    assert not (tmp_path / "new").exists()


def test_the_last_that_is_withdrawn_takes_the_file_along(file: Path) -> None:
    withdraw_request(file, request_readmission(file, None, None, "why", "local").id)
    assert not file.exists()


def test_what_waits_is_described(file: Path) -> None:
    some = request_readmission(file, "items", "cheap", "why", "key:a")
    assert some.describe() == (
        f"rows of items by cheap wait for the next run to let them in, asked for by key:a {some.at}, id {some.id}"
    )
    every = request_readmission(file, None, None, "why", "local")
    begin_request(file, every.id)
    assert read_requests(file)[1].describe().startswith("rows of all tables by any rule are being let in,")


def test_no_more_wait_than_somebody_would_read(file: Path) -> None:
    for number in range(MAX_WAITING):
        request_readmission(file, None, f"rule {number}", "why", "local")
    with pytest.raises(ReadmissionRequestError, match=f"waiting={MAX_WAITING}"):
        request_readmission(file, None, "one more", "why", "local")
    request_readmission(file, None, "rule 3", "why indeed", "local")


@pytest.mark.parametrize("content", ["{", '{"waiting": [{"id": "a"}]}'])
def test_a_damaged_file_is_named(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ReadmissionRequestError, match=r"to_readmit\.json"):
        read_requests(file)
