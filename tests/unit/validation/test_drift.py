"""The drift report on small clean tables made for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender.schema import TABLES
from recommender.settings import DriftSettings
from validation.drift import report_drift
from validation.drift_windows import MAX_ROWS, read_windows
from validation.errors import DriftReportError

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


def _report(tmp_path: Path, *, moved: bool, **settings: Any):
    clean = _shop(tmp_path / "clean", moved=moved)
    page = tmp_path / "reports" / "drift.html"
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


def test_the_workspace_is_made_once_and_keeps_every_run(tmp_path: Path) -> None:
    from evidently.ui.workspace import Workspace

    _report(tmp_path, moved=False)
    _report(tmp_path, moved=True)
    workspace = Workspace.create(str(tmp_path / "monitoring"))
    (shop,) = [found for found in workspace.list_projects() if found.name == "shop"]
    assert len(workspace.list_runs(shop.id)) == 2
    assert len(shop.dashboard.model().panels) == 3


@pytest.mark.parametrize("cut", [START - timedelta(days=1), START + timedelta(days=400)])
def test_an_empty_window_is_an_error(tmp_path: Path, cut: datetime) -> None:
    clean = _shop(tmp_path / "clean", moved=False, n=20)
    with pytest.raises(DriftReportError, match=rf"cut_at={cut.year}-.*events with values on both sides"):
        report_drift(clean, tmp_path / "m", "shop", tmp_path / "p.html", cut, DriftSettings())


def test_windows_are_sampled_the_same_way_every_time(tmp_path: Path) -> None:
    clean = _shop(tmp_path / "clean", moved=False, n=30_000)
    first, again, other = (read_windows(clean, CUT, seed) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert len(first.reference) == MAX_ROWS < first.rows[0] == 24_000
    assert first.reference.equals(again.reference)
    assert not first.reference.equals(other.reference)


def test_rare_values_are_put_together(tmp_path: Path) -> None:
    clean = _shop(tmp_path / "clean", moved=False)
    items = [{"item_id": f"i{i}", "brand": f"brand {i}"} for i in range(40)]
    _write(clean, "items", items)
    windows = read_windows(clean, CUT)
    assert windows is not None
    assert windows.reference["brand"].nunique() == 31
    assert "(other)" in set(windows.reference["brand"])
