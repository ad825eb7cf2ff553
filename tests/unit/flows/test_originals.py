"""Rows as they came go some days after they were read, used again or not; the clean tables stay."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.layout import Layout
from flows.in_use import keeping_used, note_used
from flows.originals import expire_originals
from validation.errors import ReadmissionError
from validation.quarantine.readmission import select
from validation.raw.originals import note_originals, read_originals

DAY = timedelta(days=1)


def _raw(layout: Layout, key: str, age: timedelta) -> Path:
    folder = layout.raw(key)
    folder.mkdir(parents=True)
    (folder / "part.parquet").write_bytes(b"rows")
    note_originals(folder, datetime.now(UTC) - age)
    return folder


def _clean(layout: Layout, key: str, age: timedelta) -> Path:
    quarantine = layout.clean(key) / "quarantine"
    quarantine.mkdir(parents=True)
    (layout.clean(key) / "items.parquet").write_bytes(b"rows")
    (quarantine / "items.parquet").write_bytes(b"rows")
    note_originals(quarantine, datetime.now(UTC) - age)
    return quarantine


def _used(folder: Path, ago_s: float) -> None:
    os.utime(folder, (time.time() - ago_s,) * 2)


def test_what_was_read_too_long_ago_goes_and_clean_tables_stay(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "small")
    old, new = _raw(layout, "old", 31 * DAY), _raw(layout, "new", 29 * DAY)
    bad, fresh = _clean(layout, "old", 31 * DAY), _clean(layout, "new", 29 * DAY)
    assert expire_originals(layout, 30) == [old, bad]
    assert not old.exists()
    assert new.exists()
    assert [path.name for path in bad.iterdir()] == ["originals.json"]
    assert (bad.parent / "items.parquet").exists()
    assert (fresh / "items.parquet").exists()
    assert expire_originals(layout, 30) == []


def test_use_does_not_prolong_the_time_but_what_a_run_reads_is_left_to_it_however_long_it_takes(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "small")
    read, unread = _raw(layout, "daily", 31 * DAY), _raw(layout, "other", 31 * DAY)
    _used(unread, 0)  # a moment ago, by a run that was killed
    with keeping_used(layout):
        note_used(read)
        _used(read, 25 * 3600)
        assert expire_originals(layout, 30) == [unread]
    assert expire_originals(layout, 30) == [read]


def test_with_no_days_they_go_with_the_flow_that_read_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "small")
    folder, bad = _raw(layout, "key", timedelta()), _clean(layout, "key", timedelta())
    assert expire_originals(layout, 0) == [folder, bad]


def test_folders_of_before_such_notes_count_from_when_they_were_made(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "small")
    folder = layout.raw("old")
    folder.mkdir(parents=True)
    note = folder / "raw.json"
    note.write_text("{}")
    os.utime(note, (time.time() - 40 * 24 * 3600,) * 2)
    assert expire_originals(layout, 41) == []
    assert expire_originals(layout, 30) == [folder]


def test_what_a_kill_left_of_a_removal_goes_with_the_next(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "small")
    bad = _clean(layout, "key", 31 * DAY)
    expire_originals(layout, 30)
    (bad / "users.parquet").write_bytes(b"rows")  # the note was written, the file was not yet removed
    gone = read_originals(bad)
    assert expire_originals(layout, 20) == [bad]
    assert read_originals(bad) == gone


def test_the_quarantine_says_when_its_rows_went_and_what_to_do(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "small")
    bad = _clean(layout, "key", 31 * DAY)
    expire_originals(layout, 30)
    with pytest.raises(ReadmissionError, match=r"removed 30 days after they were read: read_at=.*refresh=true"):
        select(bad)
