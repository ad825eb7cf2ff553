"""What the clock alone changes is no difference between two ends of a shop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.layout import Layout
from tests.faults.shop import recipe_of, write_source
from tests.faults.state import read_section
from validation import gate
from validation.gate import validate
from validation.sources.ingest import ingest


def test_two_validations_of_the_same_rows_are_equal_whenever_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(write_source(tmp_path / "source"))
    seen = []
    for days in (0, 3):
        later = datetime.now(UTC) + timedelta(days=days)
        monkeypatch.setattr(gate, "datetime", SimpleNamespace(now=partial(lambda found, _: found, later)))
        # In the same place: folders stand in what is kept.
        work = tmp_path / "work"
        layout = Layout(work, "shop")
        ingest(recipe.source, layout.raw("key"), layout.events, layout.readmitted)
        validate(layout.raw("key"), layout.clean("key"), recipe.validation, layout.reports / "docs")
        seen.append({name: read_section(layout, f"shop/{name}/key") for name in ("raw", "clean")})
        work.rename(tmp_path / f"work-{days}")
    assert seen[0] == seen[1]
