"""The peer of `benchmarks.simulated_shops`: RecTools' SASRec; needs rectools[torch] and what comes with it alone.

`python sequence_lists.py IN.npz OUT.npz OPTIONS.json` reads user, item and time of every training interaction, and
those known when each of two windows opens; it trains for some numbers of epochs, keeps the one whose lists are best on
the validation window's targets, and writes lists of items for the users of the test window, -1 where one is short.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet


def main(source: str, target: str, options: dict[str, Any]) -> None:
    """Choose the number of epochs on the validation window, list for the test window."""
    torch.set_num_threads(options["threads"])
    given = np.load(source)
    learned = table(given["user"], given["item"])
    best, kept = -1.0, np.zeros((0, 0))
    for epochs in options["epochs"]:
        seed_everything(options["seed"])
        model = fitted(learned, epochs, options)
        found = lists(model, given, "validation", learned, options["k"])
        hits = found[given["validation_target_user"]] == given["validation_target"][:, None]
        gain = float((hits / np.log2(np.arange(2, options["k"] + 2))).sum())
        if gain > best:
            best, kept = gain, lists(model, given, "test", learned, options["k"])
    np.savez(target, lists=kept)


def fitted(learned: pd.DataFrame, epochs: int, options: dict[str, Any]) -> SASRecModel:
    """A model of RecTools' own defaults, but for width, blocks and length."""

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    model = SASRecModel(
        n_blocks=options["n_blocks"], n_heads=options["n_heads"], n_factors=options["width"],
        session_max_len=options["max_history"], loss="softmax", epochs=epochs,
        item_net_block_types=(IdEmbeddingsItemNet,), get_trainer_func=trainer,
    )  # fmt: skip
    model.fit(Dataset.construct(learned))
    return model


def lists(model: SASRecModel, given: Any, window: str, learned: pd.DataFrame, k: int) -> np.ndarray:
    """The best items of each user with a history when the window opens, as item indices. Shape (n_users, k)."""
    asked = table(given[f"{window}_user"], given[f"{window}_item"])
    asked = asked[asked[Columns.Item].isin(learned[Columns.Item])]
    users = asked[Columns.User].unique()
    found = model.recommend(users=users, dataset=Dataset.construct(asked), k=k, filter_viewed=True)
    rows = np.full((int(given[f"{window}_n_users"]), k), -1, dtype=np.int64)
    rows[found[Columns.User].to_numpy(), found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    return rows


def table(user: np.ndarray, item: np.ndarray) -> pd.DataFrame:
    """Histories, each user's oldest first, as RecTools takes them."""
    at = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(len(user)), unit="s")
    return pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1.0, Columns.Datetime: at})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text(encoding="utf-8")))
