"""Every benchmark runs, on a few rows, and prints its table; what it measures is read by people."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from benchmarks import feature_read, leave_one_out, materialise, training_set

ROOT = Path(__file__).parents[2]


def test_the_training_set_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    training_set.main(["--labels", "2000", "--users", "100", "--items", "50"])
    assert "60" in capsys.readouterr().out


def test_the_materialisation_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    materialise.main(["--users", "200", "--events", "2000"])
    assert "rows/s" in capsys.readouterr().out


def test_the_feature_read_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    feature_read.main(["--stores", "sqlite", "--requests", "20", "--pushes", "5", "--users", "100", "--items", "150"])
    shown = capsys.readouterr().out
    assert "sqlite: a request" in shown
    assert "p50 <= 1 ms" in shown


def test_the_front_door_is_timed_beside_its_peers() -> None:
    command = [sys.executable, "-m", "benchmarks.validate_interactions", "--rows", "20000", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert rows == ["sommelier", "duckdb", "great-expectations", "limit"]


def test_leave_one_out_is_judged_under_both_protocols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Users walk round a small catalogue."""
    with duckdb.connect() as connection:
        connection.execute(
            f"""COPY (SELECT 'u' || u AS user_id, 'i' || (u * 7 + n) % 40 AS item_id, n AS position,
            TIMESTAMP '2026-01-01' + INTERVAL (u * 10 + n) HOUR AS timestamp
            FROM range(60) a(u), range(6) b(n)) TO '{tmp_path}/interactions.csv'"""
        )
        connection.execute(
            f"COPY (SELECT 'i' || n AS item_id, 'Tin ' || n AS title FROM range(40) a(n)) TO '{tmp_path}/items.csv'"
        )
    quick = ["sequence.width=16", "sequence.max_epochs=2", "sequence.n_heads=2"]
    given = [word for one in quick for word in ("--set", one)]
    leave_one_out.main(["--data", str(tmp_path), "--seeds", "1", *given])
    shown = capsys.readouterr().out
    assert "strict leave-one-out, 60 users, 1 seeds" in shown
    assert "refit leave-one-out, 60 users, 1 seeds" in shown
    assert shown.count("\nblend ") == 2
