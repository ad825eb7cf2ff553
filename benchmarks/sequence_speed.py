"""Training speed of the sequence model beside RecTools' SASRec: `python -m benchmarks.sequence_speed --data FOLDER`.

Both learn the same sequences (strict leave-one-out, item ids alone) with the same width, blocks, heads, dropout, batch,
learning rate, full softmax, epochs and threads, on the CPU, one after the other; then both rank the whole catalogue.
Speed is real positions per second: next items learned, without padding. The product's time includes a validation after
each epoch, the peer's includes none. The peer runs in a virtual environment of its own (`--peer-env`).
"""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import options
from benchmarks.harness.datasets import Dataset, open_dataset
from benchmarks.harness.models import Fits, K, recall_and_ndcg
from benchmarks.harness.tables import print_table
from benchmarks.peers.environment import make_environment, run_peer
from core import schema
from core.settings.models import SequenceSettings
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.protocols import write_leave_one_out
from recommender.inputs.queries import read_queries

PEER = ("rectools[torch]==0.19.0", "torch==2.13.0", "numpy==1.26.4")
PEER_SCRIPT = "sequence.py"
MAX_HISTORY = 50
LIMIT = 5.0

Run = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Write the training set, then train and evaluate both, once per run."""
    parser = options.command(__doc__)
    options.add_source(parser)
    options.add_peer(parser)
    parser.add_argument("--users", type=int, default=4000, help="at most so many users of the data; 0: all")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    chosen = options.parse(parser, arguments)
    recipe = options.recipe_of(chosen)
    settings = SequenceSettings(
        use_text=False,
        filter_share=0.0,
        n_negatives=0,
        id_dropout=0.0,
        max_epochs=chosen.epochs,
        patience=chosen.epochs,
    )
    features = recipe.features.model_copy(update={"max_history": MAX_HISTORY})
    fitted = recipe.model_copy(update={"sequence": settings, "features": features})
    runs = []
    with open_dataset(recipe, chosen.cache) as data:
        peer = make_environment(chosen.peer_env or data.work / "peer", PEER)
        training = write_training_set(data, chosen.users)
        for seed in range(chosen.runs):
            fits = Fits(fitted, seed, chosen.threads)
            ours = train_ours(fits, training, data.work / f"ours-{seed}")
            theirs = train_peer(fits, training, data.work / f"peer-{seed}", peer)
            runs.append((ours, theirs))
    print_results(runs, chosen.epochs)


def write_training_set(data: Dataset, n_users: int) -> Path:
    """Strict leave-one-out of some users."""
    clean, training = data.work / "clean", data.work / "training"
    shutil.copytree(data.clean_tables(), clean)
    events = pq.read_table(clean / "interactions.parquet")
    users = np.unique(events[schema.USER_ID].to_numpy(zero_copy_only=False).astype(str))
    if n_users and n_users < len(users):
        taken = np.random.default_rng(0).choice(users, n_users, replace=False)
        mask = pa.compute.is_in(events[schema.USER_ID], pa.array(taken))
        pq.write_table(events.filter(mask), clean / "interactions.parquet")
    write_leave_one_out(clean, training, "strict")
    return training


def train_ours(fits: Fits, training: Path, folder: Path) -> Run:
    """The product's fit, with vectors of zeros in place of the texts'."""
    catalogue = Catalogue.read(training, fits.seed)
    folder.mkdir()
    ItemVectors.from_rows(catalogue, np.zeros((len(catalogue), 1), dtype=np.float32)).save(folder)
    ranker, summary = fits.sequence_ranker(training, folder, folder / "sequence")
    _, ndcg = recall_and_ndcg(ranker, read_queries(training, "test"))
    return {"positions": count_positions(training) * summary.epochs, "seconds": summary.seconds, "ndcg": ndcg}


def count_positions(training: Path) -> int:
    """Next items of all sequences."""
    histories = pq.read_table(training / "sequences.parquet")[schema.HISTORY_ITEMS]
    lengths = pa.compute.list_value_length(histories).to_numpy()
    return int(np.minimum(np.maximum(lengths - 1, 0), MAX_HISTORY).sum())


def train_peer(fits: Fits, training: Path, folder: Path, python: Path) -> Run:
    """The same sequences as interactions, trained and evaluated by the peer."""
    folder.mkdir()
    histories = pq.read_table(training / "sequences.parquet").to_pylist()
    code = {item: n for n, item in enumerate(Catalogue.read(training, fits.seed).ids.item_ids)}
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
    settings = fits.recipe.sequence
    given = {
        **settings.model_dump(), "epochs": settings.max_epochs, "max_history": MAX_HISTORY, "k": K,
        "seed": fits.seed, "threads": fits.threads,
    }  # fmt: skip
    (folder / "options.json").write_text(json.dumps(given), encoding="utf-8")
    files = [folder / name for name in ("in.npz", "out.json", "options.json")]
    run_peer(python, PEER_SCRIPT, *files)
    found: Run = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return {**found, "positions": count_positions(training) * settings.max_epochs}


def print_results(runs: list[tuple[Run, Run]], epochs: int) -> None:
    """Medians over the runs, and the ratio of each pair."""
    print(f"\n{epochs} epochs, {len(runs)} runs; positions are next items without padding")
    rows = []
    for name, column in (("sommelier", 0), ("RecTools SASRec", 1)):
        speeds = [run[column]["positions"] / run[column]["seconds"] for run in runs]
        seconds, ndcg = ([run[column][key] for run in runs] for key in ("seconds", "ndcg"))
        medians = [statistics.median(values) for values in (speeds, seconds, ndcg)]
        rows.append([name, f"{medians[0]:,.0f}", f"{medians[1]:.1f}", f"{medians[2]:.4f}"])
    print_table(["model", "positions/s", "seconds", "N@10"], rows)
    ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in runs]
    print(f"ratio of speeds: {statistics.median(ratios):.1f} (limit: at least {LIMIT:g})")


if __name__ == "__main__":
    main()
