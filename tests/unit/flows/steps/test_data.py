"""Rows that the service was asked to let in are let in by the next run; what a run keeps is judged as of each run."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.layout import Layout
from core.logs.audit import read_acts
from core.quarantine.requests import ReadmissionBegun, read_requests, request_readmission, withdraw_request
from core.settings.tree import Recipe
from core.settings.validation import ShareRules, ValidationSettings
from core.tombstones import nobody
from flows.in_use import keeping_used, note_used, reading_uses
from flows.originals import expire_originals
from flows.steps import data
from flows.steps.data import let_in_asked
from flows.steps.step import Output
from tests.unit.serving.operations.put_aside import put_aside
from validation.errors import TableRejected
from validation.quarantine.readmission import readmit, select
from validation.raw.originals import note_originals
from validation.raw.parts import RawTables
from validation.summary import ValidationSummary


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


NOW = datetime(2026, 3, 1, tzinfo=UTC)


def gate(
    run: Any, monkeypatch: pytest.MonkeyPatch, shares: ShareRules, *found: ValidationSummary
) -> tuple[ValidationSummary, list[float | None]]:
    """Pass the gate at NOW where validations with these results are kept; the times that were asked for."""
    asked: list[float | None] = []
    kept = iter(found)

    def validate(run: Any, raw: Any, previous: Any, due: float | None = None) -> Any:
        asked.append(due)
        return Output(Path("clean"), "key", next(kept))

    monkeypatch.setattr(data, "validate", validate)
    run.recipe = Recipe(seed=1, validation=ValidationSettings(shares=shares))
    return data._validate_as_of(run, Output(Path("raw"), "raw", cast(RawTables, None)), NOW).value, asked


def kept(**more: Any) -> ValidationSummary:
    return ValidationSummary(folder=Path("clean"), docs=Path("docs"), gx_success=True, tables={}, **more)


def test_a_kept_validation_is_too_old_when_its_newest_event_is(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = (NOW - timedelta(days=10)).timestamp()
    before = kept(newest=newest, warnings=("interactions: fresh: newest=1. The", "users: volume: rows_in=3."))
    found, _ = gate(run, monkeypatch, ShareRules(max_age_days=11), before)
    assert found == before
    found, _ = gate(run, monkeypatch, ShareRules(max_age_days=9), before)
    stale = f"interactions: fresh: newest={newest}. The newest clean event is not older than 2026-02-20 00:00 UTC"
    assert found.warnings[0] == "users: volume: rows_in=3."
    assert found.warnings[1].startswith(stale)
    assert len(found.warnings) == 2
    with pytest.raises(TableRejected, match=r"fresh: newest=\d+.*max_age_days"):
        gate(run, monkeypatch, ShareRules(max_age_days=9, severity="table"), before)


def test_rows_that_lay_ahead_are_validated_again_when_their_time_has_come(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon, late = NOW.timestamp() + 200, NOW.timestamp() + 400
    assert gate(run, monkeypatch, ShareRules(), kept(due=late), kept()) == (kept(due=late), [None])
    assert gate(run, monkeypatch, ShareRules(), kept(due=soon), kept(due=late)) == (kept(due=late), [None, soon])
    past = NOW.timestamp() - 86_400
    again = gate(run, monkeypatch, ShareRules(), kept(due=past), kept(due=soon), kept())
    assert again == (kept(), [None, past, soon])


def test_what_was_read_is_left_to_the_run_until_it_is_validated_and_no_longer(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, kept_validations = run.layout, []

    def ingest(run: Any, fingerprint: str) -> Output[RawTables]:
        folder = layout.raw("read")
        folder.mkdir(parents=True)
        note_originals(folder, datetime.now(UTC))
        note_used(folder)
        return Output(folder, "read", cast(RawTables, None))

    def validate(run: Any, raw: Output[RawTables], now: datetime) -> Output[ValidationSummary]:
        assert expire_originals(layout, 0) == []  # by another run that begins meanwhile
        assert raw.folder.exists()
        note_used(layout.clean("made"))
        return Output(layout.clean("made"), "made", kept())

    monkeypatch.setattr("validation.sources.ingest.source_fingerprint", lambda *_: "fingerprint")
    monkeypatch.setattr(data, "ingest", ingest)
    monkeypatch.setattr(data, "_validate_as_of", validate)
    monkeypatch.setattr(data, "keep_validation", lambda layout, value: kept_validations.append(value))
    monkeypatch.setattr(data, "write_index", lambda layout: None)
    monkeypatch.setattr(data, "publish_rows", lambda layout, value: None)
    monkeypatch.setattr(data, "artifacts", SimpleNamespace(publish_validation=lambda value, url: None))
    run.recipe, run.platform = Recipe(), SimpleNamespace(originals_days=0)
    run.holding_data, run.page_url = nullcontext, str
    with keeping_used(layout):
        raw, clean = data.pass_data_gate(run)
        assert not raw.folder.exists()
        with reading_uses(layout) as (used, _):
            assert used == {clean.folder}
    assert kept_validations == [clean.value]
