"""The peer of `benchmarks.rating`: matrix factorisation by cornac, tuned on validation; needs cornac and numpy alone.

`python rating.py IN.npz OUT.npz SEED` reads user, item (integers), rating and split (0 train, 1 validation,
2 test) of every rating, and writes the test predictions of the models that validation chose by RMSE and by MAE, and
the latter's on validation.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
from cornac.data import Dataset
from cornac.models import MF

RANKS = (16, 64, 128)
RATES = (0.005, 0.01)
PENALTIES = (0.02, 0.06, 0.1, 0.15)
EPOCHS = (30, 60, 120)


def main(source: str, target: str, seed: int) -> None:
    """Try every setting, keep the best by each measure."""
    given = np.load(source)
    user, item, rating, split = (given[name] for name in ("user", "item", "rating", "split"))
    train, validation, test = (split == number for number in range(3))
    data = Dataset.build(list(zip(user[train].tolist(), item[train].tolist(), rating[train].tolist(), strict=True)))
    tried = []
    for rank, rate, penalty, epochs in itertools.product(RANKS, RATES, PENALTIES, EPOCHS):
        model = MF(k=rank, learning_rate=rate, lambda_reg=penalty, max_iter=epochs, seed=seed, num_threads=1).fit(data)
        on_validation = predict(model, data, user[validation], item[validation])
        error = on_validation - rating[validation]
        predicted = predict(model, data, user[test], item[test])
        settings = f"rank {rank}, rate {rate}, penalty {penalty}, {epochs} epochs"
        errors = float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error)))
        tried.append((*errors, settings, predicted, on_validation))
    by_rmse = min(tried, key=lambda one: one[0])
    by_mae = min(tried, key=lambda one: one[1])
    np.savez(
        target,
        by_rmse=by_rmse[3],
        by_mae=by_mae[3],
        by_mae_validation=by_mae[4],
        settings=[by_rmse[2], by_mae[2]],
        n_tried=len(tried),
    )


def predict(model: Any, data: Dataset, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Global mean, biases and product; of an unknown user or item what is left without them. Shape (n,)."""
    user = np.array([data.uid_map.get(one, -1) for one in users.tolist()])
    item = np.array([data.iid_map.get(one, -1) for one in items.tolist()])
    knows_user, knows_item = user >= 0, item >= 0
    product = (model.u_factors[user] * model.i_factors[item]).sum(axis=1) * (knows_user & knows_item)
    rating = model.global_mean + model.u_biases[user] * knows_user + model.i_biases[item] * knows_item + product
    clipped: np.ndarray = np.clip(rating, 1.0, 5.0)
    return clipped


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
