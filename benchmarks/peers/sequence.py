"""The peer of `benchmarks.sequence_speed`: RecTools' SASRec; needs rectools[torch] and what comes with it alone.

`python sequence.py IN.npz OUT.json OPTIONS.json` reads user, item and time of every training interaction, the
validation and the test item of every user; it trains, and writes seconds of training and NDCG of the test items.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet


class Clock(Callback):
    """Seconds within epochs of training; the class's own, for RecTools trains with a copy of the trainer."""

    seconds = 0.0
    started = 0.0

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        Clock.seconds += time.perf_counter() - self.started


def main(source: str, target: str, options: dict[str, Any]) -> None:
    """Train on the interactions before validation, rank the catalogue after it."""
    torch.set_num_threads(options["threads"])
    seed_everything(options["seed"])
    given = np.load(source)

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=options["epochs"], accelerator="cpu", callbacks=[Clock()], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    model = SASRecModel(
        n_blocks=options["n_blocks"], n_heads=options["n_heads"], n_factors=options["width"],
        dropout_rate=options["dropout"], session_max_len=options["max_history"], loss="softmax",
        lr=options["learning_rate"], batch_size=options["batch_size"], epochs=options["epochs"],
        item_net_block_types=(IdEmbeddingsItemNet,), get_trainer_func=trainer,
    )  # fmt: skip
    learned = table(given["user"], given["item"], given["time"])
    model.fit(Dataset.construct(learned))
    users = np.arange(len(given["validation"]))
    later = table(users, given["validation"], np.full(len(users), given["time"].max() + 1))
    known = later[later[Columns.Item].isin(learned[Columns.Item])]
    asked = Dataset.construct(pd.concat([learned, known], ignore_index=True))
    lists = model.recommend(users=users, dataset=asked, k=options["k"], filter_viewed=True)
    hits = lists[lists[Columns.Item].to_numpy() == given["test"][lists[Columns.User].to_numpy()]]
    gains = 1 / np.log2(hits[Columns.Rank].to_numpy() + 1)
    measured = {"seconds": Clock.seconds, "ndcg": float(gains.sum() / len(users))}
    Path(target).write_text(json.dumps(measured), encoding="utf-8")


def table(user: np.ndarray, item: np.ndarray, at: np.ndarray) -> pd.DataFrame:
    """Interactions as RecTools takes them."""
    days = pd.Timestamp("2000-01-01") + pd.to_timedelta(at, unit="s")
    return pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1.0, Columns.Datetime: days})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text(encoding="utf-8")))
