"""What is asked to be let in waits once, until it is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.quarantine.requests import (
    MAX_WAITING,
    ReadmissionRequestError,
    end_request,
    read_requests,
    request_readmission,
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
