"""The two windows of the report of single columns, on small clean tables made for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.schema import TABLES
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


def test_a_column_with_values_in_one_window_alone_is_not_compared(tmp_path: Path) -> None:
    clean = _shop(tmp_path / "clean", moved=False, n=100)
    rows = pq.read_table(clean / "interactions.parquet").to_pylist()
    rated = [{**row, "value": row["value"] if row["timestamp"] < CUT else None} for row in rows]
    _write(clean, "interactions", rated)
    windows = read_windows(clean, CUT)
    assert "rating" in windows.considered
    assert "rating" not in windows.numbers


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
