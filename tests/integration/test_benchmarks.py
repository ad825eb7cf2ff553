"""Every benchmark runs, on a few rows, and prints its table; what it measures is read by people."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from benchmarks import (
    cold_items,
    embed_catalogue,
    encoder_fine_tuning,
    feature_read,
    generative_validity,
    global_split,
    leave_one_out,
    materialise,
    rating,
    seen_items,
    training_set,
)
from tests.unit.recommender.tiny_shop import save_tiny_encoder

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


def test_a_request_of_a_user_with_a_long_past_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    seen_items.main(["--items", "400", "--lengths", "50", "300", "--requests", "5", "--pushes", "2", "--runs", "2"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[2:]] == ["50", "300"]
    assert shown[3].endswith("ratio <= 1.1")


def test_validation_is_timed_beside_its_peers() -> None:
    command = [sys.executable, "-m", "benchmarks.validate_interactions", "--rows", "20000", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert rows == ["sommelier", "duckdb", "great-expectations", "limit"]


def write_walks(folder: Path) -> None:
    """Users walk round a small catalogue, all of them at once."""
    with duckdb.connect() as connection:
        connection.execute(
            f"""COPY (SELECT 'u' || u AS user_id, 'i' || (u * 7 + n) % 40 AS item_id, n AS position,
            TIMESTAMP '2026-01-01' + INTERVAL (n * 100 + u) HOUR AS timestamp
            FROM range(60) a(u), range(6) b(n)) TO '{folder}/interactions.csv'"""
        )
        connection.execute(
            f"COPY (SELECT 'i' || n AS item_id, 'Tin ' || n AS title FROM range(40) a(n)) TO '{folder}/items.csv'"
        )


def test_leave_one_out_is_evaluated_under_both_protocols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_walks(tmp_path)
    quick = ["sequence.width=16", "sequence.max_epochs=2", "sequence.n_heads=2"]
    given = [word for one in quick for word in ("--set", one)]
    leave_one_out.main(["--data", str(tmp_path), "--seeds", "1", *given])
    shown = capsys.readouterr().out
    assert "strict leave-one-out, 60 users, 1 seeds" in shown
    assert "refit leave-one-out, 60 users, 1 seeds" in shown
    assert shown.count("\nblend ") == 2


def test_cold_items_and_users_are_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_walks(tmp_path)
    quick = ["sequence.width=16", "sequence.max_epochs=1", f"encoder.model={save_tiny_encoder(tmp_path / 'encoder')}"]
    given = [word for one in quick for word in ("--set", one)]
    cold_items.main(["--data", str(tmp_path), "--seeds", "1", "--share", "0.2", *given])
    shown = capsys.readouterr().out
    assert "held-out items, among themselves" in shown
    assert "held-out items, in the whole catalogue" in shown


def test_the_encoder_is_evaluated_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_walks(tmp_path)
    quick = ["sequence.width=16", "sequence.max_epochs=1", f"encoder.model={save_tiny_encoder(tmp_path / 'encoder')}"]
    given = [word for one in [*quick, "encoder.max_steps=2", "encoder.checks=1"] for word in ("--set", one)]
    asked = ["--ways", "lora", "--seeds", "1", "--history-text", "--sequence"]
    encoder_fine_tuning.main(["--data", str(tmp_path), *asked, *given])
    shown = capsys.readouterr().out
    for ranked_by in ("history as mean of vectors", "history as text", "sequence model"):
        assert len(re.findall(rf"^{ranked_by} +(none|lora) +[.\d]+ ± ", shown, re.MULTILINE)) == 2


def test_embedding_is_timed_beside_its_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embed_catalogue.main(
        ["--texts", "12", "--runs", "1", "--threads", "1", "--model", str(save_tiny_encoder(tmp_path / "encoder"))]
    )
    shown = capsys.readouterr().out
    assert "cosine: least 1.00000" in shown
    assert re.search(r"highest ratio a float32 encoder can have here: \d", shown)


def test_what_is_served_is_evaluated_beside_baselines_under_the_global_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_walks(tmp_path)
    given = [word for one in ("sequence.width=16", "sequence.max_epochs=2") for word in ("--set", one)]
    page = tmp_path / "report" / "page.html"
    asked = ["--baselines", "item_knn,als", "--seeds", "1", "--report", str(page)]
    global_split.main(["--source", "tables", "--data", str(tmp_path), *asked, *given])
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if re.search(r"\d ± \d", line)]
    assert [row.split()[0] for row in rows] == [
        "popularity", "item_knn", "als", "text_encoder", "neighbours", "sequence", "blend",
    ]  # fmt: skip
    assert all(row.count("[") == 1 for row in rows[:-1])
    assert page.is_file()
    assert page.with_suffix(".json").is_file()


def test_generated_items_are_counted_beside_an_unconstrained_beam(capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--set", "generative.max_epochs=1", "--set", "generative.width=16", "--set", "generative.levels=2"]
    generative_validity.main(["--generated", "600", "--items", "100", *quick])
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["sommelier"][:5] == ["600", "0", "0", "0", "0"]
    assert int(rows["unconstrained"][1]) > 0


def test_ratings_are_evaluated_under_both_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the peer, which would have to be installed."""
    with duckdb.connect() as connection:
        connection.execute(
            f"""COPY (SELECT 'u' || u AS user_id, 'i' || (u * 7 + n * 3) % 40 AS item_id, 'rating' AS event,
            CASE WHEN (u // 2 + n) % 2 = 0 THEN 5 ELSE 2 END AS value,
            TIMESTAMP '2026-01-01' + INTERVAL (n * 60 + u) HOUR AS timestamp
            FROM range(60) a(u), range(10) b(n)) TO '{tmp_path}/interactions.csv'"""
        )
        connection.execute(
            f"COPY (SELECT 'i' || n AS item_id, 'Tin ' || n AS title FROM range(40) a(n)) TO '{tmp_path}/items.csv'"
        )
    quick = ["scorer.hidden=4", "scorer.max_epochs=1", "scorer.factors=2", "scorer.factor_steps=2"]
    given = [word for one in quick for word in ("--set", one)]
    rating.main(["--data", str(tmp_path), "--source", "tables", "--seeds", "1", "--no-peer", *given])
    shown = capsys.readouterr().out
    assert "time split, 1 seeds" in shown
    assert "random split, 1 seeds" in shown
    assert len(re.findall(r"^pair scorer +\d", shown, re.MULTILINE)) == 2
    assert shown.count("\npair scorer, live ") == 1
