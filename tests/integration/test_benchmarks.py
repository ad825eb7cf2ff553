"""Every benchmark runs, on a few rows, and prints its table; what it measures is read by people."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import torch

from benchmarks import (
    cold_items,
    embed_catalogue,
    encoder_fine_tuning,
    feature_read,
    feedback_text,
    generative_validity,
    global_split,
    leave_one_out,
    materialise,
    rating,
    seen_items,
    simulated_shops,
    training_set,
)
from benchmarks.decoding_speed import __main__ as decoding_speed
from benchmarks.freshness import __main__ as freshness
from benchmarks.freshness import warm_start
from benchmarks.grounded_reasons import __main__ as grounded_reasons
from tests.unit.recommender.tiny_language_models import write_llama
from tests.unit.recommender.tiny_shop import save_tiny_encoder

pytestmark = pytest.mark.long

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


def test_a_request_of_a_user_with_a_long_history_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    seen_items.main(["--items", "400", "--lengths", "50", "300", "--requests", "5", "--pushes", "2", "--runs", "2"])
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[2:]] == ["50", "300"]
    assert shown[3].endswith("ratio <= 1.1")


def test_the_data_gate_is_timed_beside_its_peers() -> None:
    command = [sys.executable, "-m", "benchmarks.validate_interactions", "--rows", "20000", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert rows == ["sommelier", "duckdb", "great-expectations", "limit"]


def write_tables(folder: Path, interactions: str) -> Path:
    """A shop of sixty users and forty items.

    Args:
        interactions: A query for them.
    """
    items = "SELECT 'i' || n AS item_id, 'Tin ' || n AS title FROM range(40) a(n)"
    with duckdb.connect() as connection:
        for name, query in (("interactions", interactions), ("items", items)):
            connection.execute(f"COPY ({query}) TO '{folder}/{name}.csv'")
    return folder


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users walk round a small catalogue, all of them at once."""
    return write_tables(
        tmp_path_factory.mktemp("walks"),
        """SELECT 'u' || u AS user_id, 'i' || (u * 7 + n) % 40 AS item_id, n AS position,
        TIMESTAMP '2026-01-01' + INTERVAL (n * 100 + u) HOUR AS timestamp FROM range(60) a(u), range(6) b(n)""",
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def quick(encoder: Path) -> Callable[..., list[str]]:
    """Options for models that fit in a moment, and further settings of the recipe."""
    small = ["sequence.width=16", "sequence.n_heads=2", "sequence.max_epochs=1", f"encoder.model={encoder}"]
    return lambda *more: [word for one in [*small, *more] for word in ("--set", one)]


def test_leave_one_out_is_evaluated_under_both_protocols(
    walks: Path, quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    leave_one_out.main(["--data", str(walks), "--seeds", "1", *quick()])
    shown = capsys.readouterr().out
    assert "strict leave-one-out, 60 users, 1 seeds" in shown
    assert "refit leave-one-out, 60 users, 1 seeds" in shown
    assert shown.count("\nblend ") == 2
    assert shown.count("\nbsarec ") == 2


def test_bsarec_can_be_evaluated_alone(
    walks: Path, quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    leave_one_out.main(
        [
            "--data",
            str(walks),
            "--seeds",
            "1",
            "--protocol",
            "strict",
            "--rows",
            "bsarec",
            *quick("sequence.max_epochs=1"),
        ]
    )
    shown = capsys.readouterr().out
    assert shown.count("\nbsarec ") == 1
    assert "\nblend " not in shown


def test_the_refit_is_evaluated_on_the_month_after(
    walks: Path, quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--days", "4", "--months", "2", "--seeds", "1", "--users", "50"]
    freshness.main(["--data", str(walks), *asked, *quick()])
    shown = capsys.readouterr().out
    assert len(re.findall(r"^month from .*: [1-9]\d* users", shown, re.MULTILINE)) == 2
    assert len(re.findall(r"^.*seed 0, (judged|refit) ", shown, re.MULTILINE)) == 4
    for metric in ("R@10", "N@10"):
        assert re.search(rf"^{metric}: refit less judged [+-]\d\.\d{{4}} \[", shown, re.MULTILINE)


def test_a_chain_of_warm_starts_is_held_against_full_fits(
    walks: Path, quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--days", "4", "--months", "3", "--seeds", "1", "--users", "50", "--control"]
    warm_start.main(["--data", str(walks), *asked, *quick()])
    shown = capsys.readouterr().out
    assert len(re.findall(r"^.*seed 0, full  ", shown, re.MULTILINE)) == 3
    assert len(re.findall(r"^.*seed 0, warm ", shown, re.MULTILINE)) == 2
    assert len(re.findall(r"^.*seed 0, full with another seed ", shown, re.MULTILINE)) == 2
    # The third month starts from what the second one had.
    assert re.search(r"^from the weights of bundle 1-warm-served: [\d,]+ new next items", shown, re.MULTILINE)
    for second in ("warm", "another seed"):
        assert len(re.findall(rf"^N@10 .*: {second} over full \d\.\d{{4}} \[", shown, re.MULTILINE)) == 2
    learned = re.search(r"^next items learned: warm over full (\d\.\d+)", shown, re.MULTILINE)
    assert learned is not None
    assert float(learned[1]) < 1


def test_cold_items_and_users_are_evaluated(
    walks: Path, quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cold_items.main(["--data", str(walks), "--seeds", "1", "--share", "0.2", *quick()])
    shown = capsys.readouterr().out
    assert "held-out items, among themselves" in shown
    assert "held-out items, in the whole catalogue" in shown
    assert "other items, in the whole catalogue" in shown
    assert re.search(r"^limit: N@10 [-+]\d\.\d{4} \[.*\(seed 0, [1-9]\d* test events\)$", shown, re.MULTILINE)


def test_the_encoder_is_evaluated_before_and_after(
    walks: Path, quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--ways", "lora", "--seeds", "1", "--history-text", "--sequence"]
    settings = quick("encoder.max_steps=2", "encoder.checks=1")
    encoder_fine_tuning.main(["--data", str(walks), *asked, *settings])
    shown = capsys.readouterr().out
    is_dropped = "fine-tuning is dropped" in shown
    assert ("to encode and fine-tune, and dropped: it ranks no better" in shown) == is_dropped
    lora = "lora [(]dropped in 1 of 1 runs[)]" if is_dropped else "lora"
    for ranked_by in ("history as mean of vectors", "history as text", "sequence model"):
        assert len(re.findall(rf"^{ranked_by} +(none|{lora}) +[.\d]+ ± ", shown, re.MULTILINE)) == 2


def test_embedding_is_timed_beside_its_peer(walks: Path, encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", str(walks), "--texts", "12", "--runs", "1", "--threads", "1", "--model", str(encoder)]
    embed_catalogue.main([*given, "--precision", "float32"])
    shown = capsys.readouterr().out
    assert "12 texts" in shown
    assert "cosine: least 1.00000" in shown
    assert re.search(r"highest ratio a float32 encoder can have here: \d", shown)


def test_what_is_served_is_evaluated_beside_baselines_under_the_global_split(
    walks: Path, quick: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report" / "page.html"
    asked = ["--baselines", "item_knn, als", "--seeds", "1", "--first-seed", "3", "--report", str(page)]
    global_split.main(["--source", "tables", "--data", str(walks), *asked, *quick()])
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if re.search(r"\d ± \d", line)]
    assert [row.split()[0] for row in rows] == [
        "popularity", "item_knn", "als", "text_encoder", "text_encoder_fine_tuned", "neighbours", "part_item_knn",
        "part_popularity_recent_1", "part_popularity_recent_2", "part_popularity_recent_3", "sequence", "blend",
    ]  # fmt: skip
    assert all(row.count("[") == 1 for row in rows[:-1])
    assert page.is_file()
    assert page.with_suffix(".json").is_file()


def test_models_are_compared_with_the_oracle_of_simulated_shops(
    quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    simulated_shops.main(["--shops", "60:40,60:120:40", "--baselines", "item_knn", *quick()])
    shown = capsys.readouterr().out
    assert "60:120:40, seed 0: " in shown
    _, pooled = shown.split("\nall 2 shops, ")
    rows = {line.split()[0]: line.split()[1:] for line in pooled.splitlines()[2:]}
    assert {"oracle", "popularity", "item_knn", "neighbours", "sequence", "blend"} <= rows.keys()
    assert rows["oracle"][1] == "100.0%"
    assert all(float(cells[0]) < float(rows["oracle"][0]) for name, cells in rows.items() if name != "oracle")


def test_generated_items_are_counted_beside_an_unconstrained_beam(capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--set", "generative.max_epochs=1", "--set", "generative.width=16", "--set", "generative.levels=2"]
    generative_validity.main(["--generated", "600", "--items", "100", *quick])
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["sommelier"][:5] == ["600", "0", "0", "0", "0"]
    assert int(rows["unconstrained"][1]) > 0


def test_ratings_are_evaluated_under_both_splits(
    quick: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the peer, which would have to be installed."""
    ratings = """SELECT 'u' || u AS user_id, 'i' || (u * 7 + n * 3) % 40 AS item_id, 'rating' AS event,
        CASE WHEN (u // 2 + n) % 2 = 0 THEN 5 ELSE 2 END AS value,
        TIMESTAMP '2026-01-01' + INTERVAL (n * 60 + u) HOUR AS timestamp FROM range(60) a(u), range(10) b(n)"""
    given = ["--data", str(write_tables(tmp_path, ratings)), "--source", "tables", "--seeds", "1", "--no-peer"]
    rating.main([*given, *quick("scorer.hidden=4", "scorer.max_epochs=1", "scorer.factors=2", "scorer.factor_steps=2")])
    shown = capsys.readouterr().out
    assert "time split, 1 seeds" in shown
    assert "random split, 1 seeds" in shown
    assert len(re.findall(r"^pair scorer +\d", shown, re.MULTILINE)) == 2
    assert shown.count("\npair scorer, live ") == 1


def test_reasons_are_held_against_the_tables(
    quick: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    shop = ["--source", "simulated", "--set", "source.n_users=150", "--set", "source.n_items=60"]
    grounded_reasons.main([*shop, "--reasons", "40", "--show", "2", *quick()])
    shown = capsys.readouterr().out
    row = shown[shown.rindex("precision") :].splitlines()[1].split()
    n_facts, precision, of_others = int(row[2]), float(row[3]), float(row[4])
    assert n_facts >= int(row[1]) == 40
    assert of_others < 0.5 < 0.98 <= precision
    kinds = shown[shown.rindex("not supported") :].splitlines()[1:]
    assert sum(int(line.split()[1]) for line in kinds) == n_facts


def test_feedback_writers_are_evaluated_at_equal_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_llama(tmp_path / "llama", positions=512)
    shop = ["--source", "simulated", "--set", "source.n_users=120", "--set", "source.n_items=60"]
    writer = ["writer.kind=language_model", f"writer.model={model}", "writer.trained_layers=2", "writer.max_steps=3"]
    writer.append(f"encoder.model={save_tiny_encoder(tmp_path / 'encoder')}")
    asked = ["--minutes", "0.05", "--texts", "4", "--written", "4", "--rated", "2", "--characters", "200"]
    feedback_text.main([*shop, *asked, *(word for one in writer for word in ("--set", one))])
    shown = capsys.readouterr().out.splitlines()
    head = next(place for place, line in enumerate(shown) if line.lstrip().startswith("zero-shot  language_model"))
    assert shown[head - 1].endswith("reviews written, 2 for each rating")
    writers = ["zero-shot", "language_model", "small", "unconditioned"]
    texts = ["nearest training review", "most frequent sentence", "the real reviews"]
    assert re.split(r"  +", shown[head].strip()) == [*writers, *texts, "bar"]
    table = {line[0]: line[1:] for line in (re.split(r"  +", line) for line in shown[head + 1 :])}
    steps = [int(cell) for cell in table["steps"][:4]]
    assert steps[0] == 0
    assert 0 < steps[1] <= 3  # what ends first: the steps, or the minutes of a busy machine
    assert min(steps[2:]) > 0
    assert table["rating agreement, low or high"][-1].startswith(">= .85: ")
    assert table["copied"][4] == "1.000", "the nearest review is a training review"
    assert table["perplexity"][4:7] == ["-"] * 3


def test_writing_is_timed_with_full_weights_and_with_eight_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    llama = write_llama(tmp_path / "llama")
    decoding_speed.main(["--model", str(llama), "--tokens", "3", "--runs", "1"])
    torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert "prompts of 128 tokens, texts of 3" in said
    assert [line.split(",")[0] for line in said.splitlines() if "processor time" in line] == [
        "full weights",
        "eight bits",
    ]
