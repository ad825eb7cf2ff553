"""The drift report on small clean tables made for it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import TABLES
from core.settings.monitoring import DriftSettings
from monitoring.drift import DriftSummary, report_drift
from monitoring.windows import MAX_ROWS, read_windows

START = datetime(2025, 1, 1, tzinfo=UTC)
CUT = START + timedelta(days=80)


def _write(folder: Path, table: str, rows: list[dict[str, Any]], extra: tuple[str, ...] = ()) -> None:
    schema = pa.schema([*TABLES[table].arrow(), *(pa.field(name, pa.string()) for name in extra)])  # type: ignore[index]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{table}.parquet")


def _shop(folder: Path, *, moved: bool, n: int = 1500) -> Path:
    """100 days of events on 40 items; when `moved`, people buy the dear kind only, from the cut on."""
    rng = np.random.default_rng(3)
    items = [
        {"item_id": f"i{i}", "category": f"{'AB'[i % 2]} > x", "price": 5.0 + 50 * (i % 2), "colour": "rg"[i % 2]}
        for i in range(40)
    ]
    rows, reviews = [], []
    for number in range(n):
        at = START + timedelta(days=100 * number / n)
        kind = 1 if moved and at >= CUT else int(rng.integers(2))
        event = {
            "event_id": f"e{number}",
            "user_id": f"u{number % 50}",
            "item_id": f"i{2 * int(rng.integers(20)) + kind}",
            "event": "rating",
            "value": float(rng.integers(1, 6)),
            "timestamp": at,
            "position": number,
        }
        rows.append(event)
        text = "x" * int(rng.integers(10, 200))
        reviews.append(
            {**{name: event[name] for name in ("user_id", "item_id", "timestamp")}, "rating": 1, "text": text}
        )
    _write(folder, "interactions", rows)
    _write(folder, "items", items, ("colour",))
    _write(folder, "feedback", reviews)
    return folder


def _report(tmp_path: Path, *, moved: bool, name: str = "drift", **settings: Any):
    clean = _shop(tmp_path / "clean", moved=moved)
    page = tmp_path / "reports" / f"{name}.html"
    return report_drift(clean, tmp_path / "monitoring", "shop", page, CUT, DriftSettings(**settings))


def test_a_shop_that_stays_the_same_has_no_drift(tmp_path: Path) -> None:
    summary = _report(tmp_path, moved=False)
    assert (summary.drifted, summary.share) == (False, 0.0)
    assert set(summary.columns) == {"rating", "price", "review_chars", "category", "colour"}  # the event never varies
    assert (summary.reference_rows, summary.current_rows) == (1200, 300)
    assert summary.reference_window[0].startswith("2025-01-01")
    assert summary.current_window[0] == CUT.isoformat()


@pytest.mark.parametrize("method", ["psi", "wasserstein", "jensenshannon"])
def test_a_shop_that_moves_drifts_where_it_moved(tmp_path: Path, method: str) -> None:
    summary = _report(tmp_path, moved=True, method=method)
    drifted = {name for name, column in summary.columns.items() if column.drifted}
    assert drifted == {"price", "category", "colour"}
    assert summary.share == pytest.approx(3 / 5)
    assert summary.drifted


def test_thresholds_are_obeyed(tmp_path: Path) -> None:
    assert not _report(tmp_path / "a", moved=True, share=0.7).drifted
    assert _report(tmp_path / "b", moved=True, threshold=50.0).share == 0.0


def test_the_page_needs_no_network_and_evidently_agrees(tmp_path: Path) -> None:
    summary = _report(tmp_path, moved=True)
    text = summary.page.read_text()
    assert "<script" in text
    assert 'src="http' not in text
    assert '<link rel="stylesheet" href="http' not in text
    assert "Dataset Drift" in text


def test_the_workspace_is_made_once_and_keeps_every_run_once(tmp_path: Path) -> None:
    from evidently.ui.workspace import Workspace

    cut_short = tmp_path / "monitoring" / str(uuid4())
    (cut_short / "snapshots").mkdir(parents=True)  # a project without its file of metadata
    _report(tmp_path, moved=False)
    _report(tmp_path, moved=True, name="later")
    _report(tmp_path, moved=True, name="later")  # killed before its page was there, and made again
    workspace = Workspace.create(str(tmp_path / "monitoring"))
    (shop,) = [found for found in workspace.list_projects() if found and found.name == "shop"]
    assert len(workspace.list_runs(shop.id)) == 2
    assert len(shop.dashboard.model().panels) == 3


def _report_plain(tmp_path: Path, cut: datetime = CUT, events: int = 50) -> DriftSummary:
    """The report of a shop that has user, item and time alone: no kind of event, no catalogue, no reviews."""
    clean = tmp_path / "clean"
    rows = [
        {
            "event_id": f"e{number}",
            "user_id": f"u{number % 5}",
            "item_id": f"i{number % 7}",
            "event": "view",
            "timestamp": START + timedelta(days=100 * number / 50),
            "position": number,
        }
        for number in range(events)
    ]
    _write(clean, "interactions", rows)
    _write(clean, "items", [{"item_id": f"i{number}"} for number in range(7)])
    _write(clean, "feedback", [])
    return report_drift(clean, tmp_path / "m", "shop", tmp_path / "p.html", cut, DriftSettings())


def test_the_oldest_runs_of_the_workspace_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evidently.ui.workspace import Workspace

    monkeypatch.setattr("monitoring.drift.KEPT_SNAPSHOTS", 2)
    kept = []
    for number in range(3):
        _report(tmp_path, moved=False, name=f"cut-{number}")
        workspace = Workspace.create(str(tmp_path / "monitoring"))
        kept.append(set(workspace.list_runs(workspace.search_project("shop")[0].id)))
    first, second, third = kept
    assert first < second
    assert len(third) == 2
    assert second - first < third
    assert not first & third


def test_without_a_column_to_compare_the_report_says_which_were_considered(tmp_path: Path) -> None:
    summary = _report_plain(tmp_path)
    assert (summary.drifted, summary.share, summary.columns) == (False, 0.0, {})
    assert (summary.reference_rows, summary.current_rows) == (40, 10)
    assert summary.note.startswith("No column to compare: none of event, category, brand, rating, price, review_chars ")
    assert "\n" not in summary.note
    assert summary.note in summary.page.read_text()


def test_a_column_with_values_in_one_window_alone_is_not_compared(tmp_path: Path) -> None:
    clean = _shop(tmp_path / "clean", moved=False, n=100)
    rows = pq.read_table(clean / "interactions.parquet").to_pylist()
    rated = [{**row, "value": row["value"] if row["timestamp"] < CUT else None} for row in rows]
    _write(clean, "interactions", rated)
    windows = read_windows(clean, CUT)
    assert "rating" in windows.considered
    assert "rating" not in windows.numbers


@pytest.mark.parametrize(
    ("cut", "events", "counted"),
    [
        (START - timedelta(days=1), 50, r"no event before 2024-12-31T00:00:00\+00:00, .*0 events before, 50 after"),
        (START + timedelta(days=400), 50, r"no event from 2026-02-05T00:00:00\+00:00, .*50 events before, 0 after"),
        (CUT, 0, r"no event before 2025-03-22T00:00:00\+00:00, .*0 events before, 0 after"),
    ],
)
def test_an_empty_window_is_told(tmp_path: Path, cut: datetime, events: int, counted: str) -> None:
    summary = _report_plain(tmp_path, cut, events)
    assert not summary.drifted
    assert re.search(counted, summary.note)
    assert (summary.reference_window is None) == (summary.reference_rows == 0)
    assert (summary.current_window is None) == (summary.current_rows == 0)
    assert escape(summary.note) in summary.page.read_text()


def test_a_window_without_columns_adds_no_run_and_keeps_the_project(tmp_path: Path) -> None:
    from evidently.ui.workspace import Workspace

    _report_plain(tmp_path)
    workspace = Workspace.create(str(tmp_path / "m"))
    (shop,) = [found for found in workspace.list_projects() if found.name == "shop"]
    assert workspace.list_runs(shop.id) == []


def test_windows_are_sampled_the_same_way_every_time(tmp_path: Path) -> None:
    clean = _shop(tmp_path / "clean", moved=False, n=30_000)
    first, again, other = (read_windows(clean, CUT, seed) for seed in (1, 1, 2))
    assert len(first.reference) == MAX_ROWS < first.rows[0] == 24_000
    assert first.reference.equals(again.reference)
    assert not first.reference.equals(other.reference)


def test_rare_values_are_put_together(tmp_path: Path) -> None:
    clean = _shop(tmp_path / "clean", moved=False)
    items = [{"item_id": f"i{i}", "brand": f"brand {i}"} for i in range(40)]
    _write(clean, "items", items)
    windows = read_windows(clean, CUT)
    assert windows.reference["brand"].nunique() == 31
    assert "(other)" in set(windows.reference["brand"])
