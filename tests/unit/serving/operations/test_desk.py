"""The time line and the audit log are read in pages, from the newest to the oldest."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.ids import time_ordered_id
from core.layout import Layout
from core.logs.audit import begin, end
from core.logs.timeline import Timeline
from core.settings.platform import ServingSettings
from core.settings.tree import Settings
from core.tombstones import nobody
from serving.api.timeline import AuditQuery, TimelineQuery
from serving.operations.desk import OperationsDesk


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "corner")


@pytest.fixture
def desk(layout: Layout) -> OperationsDesk:
    return OperationsDesk(layout, Settings(work_dir=layout.work_dir, shop=layout.shop), nobody)


def test_the_time_line_comes_in_pages(desk: OperationsDesk, layout: Layout) -> None:
    for number in range(5):
        Timeline(layout.timeline).add("run", f"run {number}", "completed", "It ran.")
    assert [one.subject for one in desk.timeline().entries] == [f"run {number}" for number in range(5)]
    pages, before = [], None
    while True:
        page = desk.timeline(TimelineQuery(before=before, limit=2))
        pages.append([one.subject for one in page.entries])
        if page.next is None:
            break
        before = page.next
    assert pages == [["run 3", "run 4"], ["run 1", "run 2"], ["run 0"]]


def test_the_audit_log_comes_in_pages(desk: OperationsDesk, layout: Layout) -> None:
    assert (desk.audit().acts, desk.audit().next) == ([], None)
    layout.root.mkdir()
    for number in range(5):
        act = begin(layout.audit, f"act {number}", "user:ann")
        if number != 4:
            end(layout.audit, act, "done")
    pages, before = [], None
    while True:
        page = desk.audit(AuditQuery(before=before, limit=2))
        pages.append([(one.what, one.outcome) for one in page.acts])
        if page.next is None:
            break
        before = page.next
    assert pages == [
        [("act 4", "begun"), ("act 3", "done")],
        [("act 2", "done"), ("act 1", "done")],
        [("act 0", "done")],
    ]
    assert desk.audit(AuditQuery(before="of a file that went")).acts == []


def test_a_page_of_the_audit_log_reads_no_file_further_back_than_it_needs(desk: OperationsDesk, layout: Layout) -> None:
    layout.root.mkdir()
    for number in range(4):
        begin(layout.audit, f"act {number}", "user:ann")
    layout.audit.with_name("audit.jsonl.1").mkdir()  # cannot be read
    page = desk.audit(AuditQuery(limit=2))
    assert ([one.what for one in page.acts], page.problem) == (["act 3", "act 2"], None)
    assert "Cannot read the audit log" in (desk.audit(AuditQuery(before=page.next, limit=2)).problem or "")


def test_an_audit_log_that_cannot_be_read_is_said(desk: OperationsDesk, layout: Layout) -> None:
    layout.audit.mkdir(parents=True)
    assert "Cannot read the audit log" in (desk.audit().problem or "")


def test_an_answer_that_the_log_does_not_have_is_refused_with_what_was_searched(layout: Layout) -> None:
    layout.predictions.mkdir(parents=True)
    segment = layout.predictions / f"{time_ordered_id()}.jsonl"
    segment.write_text('{"recommendation_id": "r1", "role": "shown"}\n', encoding="utf-8")
    serving = ServingSettings(timeout_s=60.0)
    settings = Settings(work_dir=layout.work_dir, shop=layout.shop, serving=serving)
    refused = OperationsDesk(layout, settings, nobody).lineage("r2")
    assert refused.status_code == 404
    assert "r2, expected an answer in the prediction log from 20" in bytes(refused.body).decode()
    hurried = settings.model_copy(update={"serving": serving.model_copy(update={"timeout_s": 1e-9})})
    refused = OperationsDesk(layout, hurried, nobody).lineage("r2")
    assert refused.status_code == 504
    assert "1 more segments were not read" in bytes(refused.body).decode()


def test_who_looked_is_read_apart_from_who_changed(desk: OperationsDesk, layout: Layout) -> None:
    layout.root.mkdir(parents=True)
    for file, what in ((layout.audit, "a change"), (layout.audit_reads, "a look")):
        end(file, begin(file, what, "user:ann"), "done")
    assert [act.what for act in desk.audit().acts] == ["a change"]
    assert [act.what for act in desk.audit(AuditQuery(of="reads")).acts] == ["a look"]
