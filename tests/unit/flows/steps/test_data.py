"""Rows that the service was asked to let in are let in by the next run, before it reads the source."""

from __future__ import annotations

import logging
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace
from typing import Any

import pytest

from core.layout import Layout
from core.logs.audit import read_acts
from core.quarantine.requests import ReadmissionBegun, read_requests, request_readmission, withdraw_request
from core.tombstones import nobody
from flows.steps import data
from flows.steps.data import let_in_asked
from tests.unit.serving.operations.put_aside import put_aside
from validation.quarantine.readmission import readmit, select


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run whose steps are not Prefect's."""

    def let_in(run: Any, quarantine: Path, corrections: None, table: Any, rules: tuple[str, ...]) -> Any:
        return readmit(select(quarantine, table, rules), run.layout.readmitted, nobody)

    monkeypatch.setattr(data, "readmit_rows", let_in)
    monkeypatch.setattr(data, "get_run_logger", lambda: logging.getLogger("run"))
    return SimpleNamespace(layout=Layout(tmp_path, "corner"))


def test_what_is_asked_for_is_let_in_once_and_on_record(run: Any) -> None:
    layout = run.layout
    put_aside(layout)
    request_readmission(layout.to_readmit, None, "value_parses", "The scale was wrong.", "key:k1")
    let_in_asked(run)
    (file,) = layout.readmitted.iterdir()
    assert read_requests(layout.to_readmit) == ()
    (act,) = read_acts(layout.audit)
    assert (act.who, act.what, act.outcome) == ("key:k1", "quarantine readmit", "done")
    assert (act.details["reason"], act.details["rule"], act.details["rows"]) == (
        "The scale was wrong.",
        "value_parses",
        "1",
    )
    let_in_asked(run)
    assert [*layout.readmitted.iterdir()] == [file]


def test_what_is_asked_for_waits_while_nothing_is_validated(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    layout = run.layout
    put_aside(layout)
    asked = request_readmission(layout.to_readmit, None, "value_parses", "They are good.", "local")
    rmtree(layout.clean("key"))  # as when a person is removed
    let_in_asked(run)
    assert read_requests(layout.to_readmit) == (asked,)
    assert "waits for the next run (requests: 1): Cannot look into the quarantine" in caplog.text
    assert not layout.audit.exists()
    put_aside(layout)
    let_in_asked(run)
    assert read_requests(layout.to_readmit) == ()
    assert [act.outcome for act in read_acts(layout.audit)] == ["done"]


def test_rows_that_are_gone_stop_no_run(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    layout = run.layout
    put_aside(layout)
    request_readmission(layout.to_readmit, None, None, "They are good.", "local")
    rmtree(layout.clean("key") / "quarantine")
    let_in_asked(run)
    assert read_requests(layout.to_readmit) == ()
    assert "are not let in" in caplog.text
    assert read_acts(layout.audit)[0].outcome == "failed: ReadmissionError"


def test_what_is_withdrawn_while_a_run_is_at_work_is_not_let_in(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = run.layout
    put_aside(layout)
    first = request_readmission(layout.to_readmit, None, "value_parses", "They are good.", "local")
    second = request_readmission(layout.to_readmit, None, "timestamp_parses", "They are good.", "local")
    let_in, asked_for = data.readmit_rows, []

    def let_in_meanwhile(run: Any, quarantine: Path, corrections: None, table: Any, rules: tuple[str, ...]) -> Any:
        asked_for.append(rules)
        with pytest.raises(ReadmissionBegun):
            withdraw_request(layout.to_readmit, first.id)
        withdraw_request(layout.to_readmit, second.id)
        return let_in(run, quarantine, corrections, table, rules)

    monkeypatch.setattr(data, "readmit_rows", let_in_meanwhile)
    let_in_asked(run)
    assert asked_for == [("value_parses",)]
    assert read_requests(layout.to_readmit) == ()
    assert [act.details["rule"] for act in read_acts(layout.audit)] == ["value_parses"]
