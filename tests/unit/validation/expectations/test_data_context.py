"""What becomes of a shop's Great Expectations context when it cannot be brought up to date."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from validation.expectations import data_context
from validation.expectations.data_context import SET_ASIDE, keep_run


def test_a_context_is_not_taken_for_damaged_where_the_disk_is_full(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "shop" / "gx"
    folder.mkdir(parents=True)
    (folder / "great_expectations.yml").write_text("history: long")

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(data_context, "_bring_up_to_date", fill)
    with pytest.raises(OSError, match="No space left"):
        keep_run(folder, tmp_path / "clean", "run", datetime(2026, 1, 1, tzinfo=UTC), {})
    assert (folder / "great_expectations.yml").read_text() == "history: long"
    assert not folder.with_name(SET_ASIDE).exists()
