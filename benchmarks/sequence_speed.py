"""Training speed of the sequence model beside RecTools' SASRec: `python -m benchmarks.sequence_speed --data FOLDER`.

Both learn the same sequences (strict leave-one-out, item ids alone) with the same width, blocks, heads, dropout, batch,
learning rate, full softmax, epochs and threads, on the CPU, one after the other; then both rank the whole catalogue.
Speed is real positions per second: next items learned, without padding. Ours is timed with its validation after each
epoch, the peer's without any. The peer lives in an environment of its own (`--peer-env`), made where there is none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.environment import make_environment
from core import schema
from core.settings.models import SequenceSettings
from core.settings.source import TablesSource
from core.settings.tree import ValidationSettings
from recommender.evaluation.evaluation import evaluate_ranker
from recommender.fitting.context import FitContext
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.protocols import write_leave_one_out
from recommender.inputs.queries import read_queries
from recommender.ranking.ranker import Ranker
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.sequence.model import load_sequence_model
from validation.gate import validate
from validation.sources.ingest import ingest

PEER = ("rectools[torch]==0.19.0", "torch==2.13.0", "numpy==1.26.4")
PEER_SCRIPT = Path(__file__).with_name("peers") / "sequence.py"
K = 10
MAX_HISTORY = 50
LIMIT = 5.0


def main(arguments: list[str] | None = None) -> None:
    """Write the training set, then train and judge both, so many runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--users", type=int, default=4000, help="so many users of the data; 0: all")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-env", type=Path, help="the peer's environment, made where there is none; default: new")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = make_environment(chosen.peer_env or folder / "peer", PEER)
        training = write_training_set(folder, chosen.data, chosen.users)
        settings = SequenceSettings(
            use_text=False, n_negatives=0, id_dropout=0.0, max_epochs=chosen.epochs, patience=chosen.epochs
        )
        runs = []
        for seed in range(chosen.runs):
            ours = train_ours(training, folder / f"ours-{seed}", settings, seed, chosen.threads)
            theirs = train_peer(training, folder / f"peer-{seed}", settings, seed, chosen.threads, peer)
            runs.append((ours, theirs))
        print_table(runs, chosen.epochs)


def write_training_set(folder: Path, data: Path, n_users: int) -> Path:
    """Strict leave-one-out of some users, through the product's reader and door."""
    ingest(TablesSource(path=data), folder / "raw")
    validate(folder / "raw", folder / "clean", ValidationSettings(), folder / "docs")
    events = pq.read_table(folder / "clean" / "interactions.parquet")
    users = np.unique(events[schema.USER_ID].to_numpy(zero_copy_only=False).astype(str))
    if n_users and n_users < len(users):
        taken = np.random.default_rng(0).choice(users, n_users, replace=False)
        mask = pa.compute.is_in(events[schema.USER_ID], pa.array(taken))
        pq.write_table(events.filter(mask), folder / "clean" / "interactions.parquet")
    write_leave_one_out(folder / "clean", folder / "training", "strict")
    return folder / "training"


def train_ours(training: Path, folder: Path, settings: SequenceSettings, seed: int, threads: int) -> dict[str, Any]:
    """The product's fit, with vectors that say nothing in the texts' place."""
    catalogue = Catalogue.read(training, seed)
    vectors = ItemVectors.from_rows(catalogue, np.zeros((len(catalogue), 1), dtype=np.float32))
    folder.mkdir()
    vectors.save(folder)
    summary = fit_sequence(
        FitContext(training, seed, k=K, threads=threads, progress=print),
        folder,
        folder / "sequence",
        settings,
        MAX_HISTORY,
    )
    ranker = Ranker(vectors, load_sequence_model(folder / "sequence", vectors))
    ndcg = evaluate_ranker(ranker, read_queries(training, "test"), K).per_query["ndcg"].mean()
    return {"positions": count_positions(training) * summary.epochs, "seconds": summary.seconds, "ndcg": float(ndcg)}


def count_positions(training: Path) -> int:
    """Next items of all sequences."""
    histories = pq.read_table(training / "sequences.parquet")[schema.HISTORY_ITEMS]
    lengths = pa.compute.list_value_length(histories).to_numpy()
    return int(np.minimum(np.maximum(lengths - 1, 0), MAX_HISTORY).sum())


def train_peer(
    training: Path, folder: Path, settings: SequenceSettings, seed: int, threads: int, python: Path
) -> dict[str, Any]:
    """The same sequences as interactions, trained and judged by the peer."""
    folder.mkdir()
    histories = pq.read_table(training / "sequences.parquet").to_pylist()
    code = {item: n for n, item in enumerate(Catalogue.read(training, seed).ids.item_ids)}
    place = {row[schema.USER_ID]: n for n, row in enumerate(histories)}
    events = [
        (place[row[schema.USER_ID]], code[item], at)
        for row in histories
        for at, item in enumerate(row[schema.HISTORY_ITEMS])
    ]
    left_out = {split: np.zeros(len(place), dtype=np.int64) for split in ("validation", "test")}
    for row in pq.read_table(training / "queries.parquet").to_pylist():
        left_out[row[schema.SPLIT]][place[row[schema.USER_ID]]] = code[row[schema.TARGETS][0]]
    user, item, at = np.array(events, dtype=np.int64).T
    np.savez(folder / "in.npz", user=user, item=item, time=at, validation=left_out["validation"], test=left_out["test"])
    options = {
        **settings.model_dump(), "epochs": settings.max_epochs, "max_history": MAX_HISTORY, "k": K,
        "seed": seed, "threads": threads,
    }  # fmt: skip
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
    files = [folder / name for name in ("in.npz", "out.json", "options.json")]
    subprocess.run([python, PEER_SCRIPT, *files], check=True, cwd=folder)
    told: dict[str, Any] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return {**told, "positions": count_positions(training) * settings.max_epochs}


def print_table(runs: list[tuple[dict[str, Any], dict[str, Any]]], epochs: int) -> None:
    """Medians over the runs, and the ratio of each pair."""
    print(f"\n{epochs} epochs, {len(runs)} runs; positions are next items without padding")
    print(f"{'model':<24}{'positions/s':>14}{'seconds':>10}{'N@10':>10}")
    for name, column in (("sommelier", 0), ("RecTools SASRec", 1)):
        speeds = [run[column]["positions"] / run[column]["seconds"] for run in runs]
        seconds, ndcg = ([run[column][key] for run in runs] for key in ("seconds", "ndcg"))
        print(
            f"{name:<24}{statistics.median(speeds):>14,.0f}{statistics.median(seconds):>10.1f}"
            f"{statistics.median(ndcg):>10.4f}"
        )
    ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in runs]
    print(f"ratio of speeds: {statistics.median(ratios):.1f} (limit: at least {LIMIT:g})")


if __name__ == "__main__":
    main()
