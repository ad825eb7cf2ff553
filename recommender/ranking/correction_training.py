"""Learns a correction of a blend from the candidates of validation queries, by a ranking loss."""

from __future__ import annotations

import numpy as np
import torch

from recommender.errors import TrainingDataError
from recommender.fitting.descent import descend
from recommender.ranking.blend import Blend
from recommender.ranking.candidates import Candidates
from recommender.ranking.correction import Network, Trees
from recommender.ranking.weights import missed, targets_of

HIDDEN = 16
STEPS = 30
RATE = 0.01
# Of the squared weights of the layers: few users, and many candidates of each.
DECAY = 0.5
TREES = 40
# Small and slow: a tree that learns a handful of users by heart ranks the others worse.
MOST_CANDIDATES = 10_000  # of a query: LightGBM ranks no more
TREE_SETTINGS = {
    "objective": "lambdarank", "learning_rate": 0.03, "num_leaves": 7, "min_data_in_leaf": 400, "lambda_l2": 50.0,
    "feature_fraction": 0.7, "lambdarank_truncation_level": 30, "num_threads": 1, "deterministic": True,
    "force_row_wise": True, "verbosity": -1,
}  # fmt: skip


def fit_network(candidates: Candidates, blend: Blend, names: tuple[str, ...], seed: int) -> Network:
    """A network whose sum with the blend makes the targets likely under a softmax over the candidates.

    Raises:
        TrainingDataError: no query has a target among its candidates.
    """
    check_targets(candidates)
    rows, share = targets_of(candidates)
    some = candidates.take(rows)
    mean, scale = _spread(some)
    inputs = torch.from_numpy(_standardised(some, mean, scale))
    base, padding = torch.from_numpy(blend.of_candidates(some)), torch.from_numpy(~some.there)
    wanted, generator = torch.from_numpy(share), torch.Generator().manual_seed(seed)
    hidden = (torch.randn(len(names), HIDDEN, generator=generator) / np.sqrt(len(names))).requires_grad_()
    bias, out = torch.zeros(HIDDEN, requires_grad=True), torch.zeros(HIDDEN, requires_grad=True)
    sharpness = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([hidden, bias, out, sharpness], lr=RATE)
    for step in range(STEPS):
        added = torch.relu(inputs @ hidden + bias) @ out
        logits = ((base + added) * sharpness.exp()).masked_fill(padding, -torch.inf)
        loss = missed(logits, wanted) + DECAY * (hidden.square().sum() + out.square().sum()) / HIDDEN
        descend("network over the parts", loss, optimiser, f"step {step + 1}")
    found = {"mean": mean, "scale": scale, "hidden": hidden, "hidden_bias": bias, "out": out}
    tensors = {
        name: np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, dtype=np.float32)
        for name, value in found.items()
    }
    return Network(names, tensors)


def fit_trees(candidates: Candidates, blend: Blend, names: tuple[str, ...], seed: int) -> Trees:
    """Trees that begin at the blend's scores and learn by LambdaRank.

    Raises:
        TrainingDataError: no query has a target among its candidates.
    Source: Burges 2010, From RankNet to LambdaRank to LambdaMART; Ke et al. 2017, LightGBM.
    """
    import lightgbm

    check_targets(candidates)
    rows, _ = targets_of(candidates)
    scale = sharpness_of(candidates, blend)
    some = candidates.take(rows)
    scores = blend.of_candidates(some)
    there = _best_of_each(scores, some.there, some.wanted)
    base = scores[there] * scale
    data = lightgbm.Dataset(
        some.features[there[some.there]],
        label=some.wanted[there].astype(np.float32),
        group=there.sum(axis=1),
        init_score=base,
        feature_name=list(names),
        free_raw_data=True,
        params={"verbosity": -1},
    )
    booster = lightgbm.train({**TREE_SETTINGS, "seed": seed}, data, num_boost_round=TREES)
    return Trees.of(names, booster.model_to_string(), scale)


def _best_of_each(scores: np.ndarray, there: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Of each query as many candidates as LightGBM takes: its targets, and the others that the blend ranks highest.

    Args:
        scores: Of the blend. Shape (B, C).
        there, wanted: See `Candidates`. Shapes (B, C), bool.
    Returns:
        Which candidates are kept. Shape (B, C), bool.
    """
    kept = there.copy()
    for row in np.flatnonzero(there.sum(axis=1) > MOST_CANDIDATES):
        order = np.lexsort((-scores[row], ~wanted[row], ~there[row]))
        kept[row, order[MOST_CANDIDATES:]] = False
    return kept


def sharpness_of(candidates: Candidates, blend: Blend) -> float:
    """What the blend's scores are multiplied by to make the targets likeliest under a softmax; from 0.1 to 10."""
    rows, share = targets_of(candidates)
    base, padding = torch.from_numpy(blend.of_candidates(candidates)[rows]), torch.from_numpy(~candidates.there[rows])
    wanted = torch.from_numpy(share)
    tried = np.geomspace(0.1, 10, 41)
    losses = [float(missed((base * float(one)).masked_fill(padding, -torch.inf), wanted)) for one in tried]
    return float(tried[int(np.argmin(losses))])


def _spread(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature over the candidates that have it; 0 and 1 without any. Shapes (F,)."""
    n_features = candidates.features.shape[1]
    n, total, squares = (np.zeros(n_features) for _ in range(3))
    for features in candidates.feature_passes():
        known = np.isfinite(features)
        n += known.sum(axis=0)
        total += np.where(known, features, 0.0).sum(axis=0, dtype=np.float64)
    n = np.maximum(n, 1)
    mean = total / n
    for features in candidates.feature_passes():
        squares += (np.where(np.isfinite(features), features - mean, 0.0) ** 2).sum(axis=0)
    scale = np.sqrt(squares / n)
    return mean, np.where(scale > 1e-6, scale, 1.0)


def _standardised(candidates: Candidates, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The features as the network reads them, 0 where there is no candidate. Shape (B, C, F), float32."""
    found = np.zeros((*candidates.places.shape, len(mean)), dtype=np.float32)
    rows, columns = candidates.there.nonzero()
    start = 0
    for features in candidates.feature_passes():
        some = slice(start, start + len(features))
        found[rows[some], columns[some]] = np.clip(np.nan_to_num((features - mean) / scale), -5, 5)
        start += len(features)
    return found


def check_targets(candidates: Candidates) -> None:
    """Refuse candidates that nothing can be learned from.

    Raises:
        TrainingDataError: no query has a target among its candidates.
    """
    if not candidates.n_with_target:
        raise TrainingDataError(
            "Cannot learn a correction of the blend",
            got="queries with a target among their candidates=0",
            expected="at least 1",
            do="Set recipe.blend.kind to weighted, or give more interactions",
        )
