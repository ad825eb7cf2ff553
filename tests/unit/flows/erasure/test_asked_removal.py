"""Whom clients of the service asked to be forgotten is removed by a flow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.layout import Layout
from core.logs.events import EventLog
from core.removals import read_waiting, request_removal
from core.settings.tree import Settings
from flows.erasure.removal import take_back
from flows.erasure.waiting import remove_waiting
from tests.integration.byte_search import find
from tests.unit.flows.erasure.known_person import PERSON


@pytest.fixture
def asked(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """Clients of the service asked for two people to be forgotten."""
    from prefect.logging import disable_run_logger

    settings = Settings(work_dir=layout.work_dir, shop=layout.shop)
    monkeypatch.setattr("flows.erasure.waiting.current_settings", lambda: settings)
    for user in (PERSON, "nobody-at-all"):
        request_removal(layout.to_forget, layout.forgotten, user)
    with disable_run_logger():
        yield layout


def test_whom_the_service_was_asked_to_forget_is_removed_by_a_flow_and_so_is_their_id(asked: Layout) -> None:
    assert PERSON in asked.to_forget.read_text()
    receipts = remove_waiting(asked.shop)
    assert [(one.number, one.state, one.seen) for one in receipts] == [
        (1, "retraining", True),
        (2, "retraining", False),
    ]
    assert find(PERSON, asked.root.parent) == set()
    assert not asked.to_forget.exists()
    assert remove_waiting(asked.shop) == []


def test_who_cannot_be_removed_whole_goes_on_waiting(asked: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("flows.erasure.removal.blot_log", lambda *_: 0)
        receipts = remove_waiting(asked.shop)
    assert [one.state for one in receipts] == ["removing", "retraining"]
    assert read_waiting(asked.to_forget) == (PERSON,)
    assert [one.state for one in remove_waiting(asked.shop)] == ["retraining"]
    assert find(PERSON, asked.root.parent) == set()


def test_who_is_taken_back_before_a_flow_came_loses_nothing(asked: Layout) -> None:
    take_back(asked, PERSON)
    assert [one.number for one in remove_waiting(asked.shop)] == [2]
    assert PERSON in {event.user_id for _, event in EventLog(asked.events).read()}
