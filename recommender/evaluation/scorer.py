"""Evaluate the pair scorer on the ratings of a window, beside what is known without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core import schema
from recommender.inputs.rated_pairs import RatedPairs
from recommender.metrics.ratings import auc, expected_calibration_error, grouped_auc, mae, reliability, rmse
from recommender.scoring.scorer import PairScorer
from recommender.scoring.stack import StackedScorer


def evaluate_scorer(scorer: PairScorer | StackedScorer, training: Path, split: schema.Split) -> dict[str, Any]:
    """Errors of rating and P(like) on one window, with the items' ratings as serving has them (as of the cut-off).

    `mae` is of the expected rating, as `rmse` is; `mae_of_median` of the median one, which is the answer that it wants.
    `user_item_bias` is global mean + user bias + item bias, read from the same inputs; `global_mean` knows neither.
    A baseline's like score is its rating; only `global_mean` has a probability too: the share of likes in training.

    Returns:
        `{"n_pairs": n, "like_share": …, "reliability": bins of the pair scorer, "models": {model: {metric: value}}}`
        with the models `pair_scorer`, `user_item_bias` and `global_mean`; `{"n_pairs": 0}` where the window has no
        ratings. `auc` is left out where all pairs are likes, or none is, and `gauc`, within users, where that is so of
        every user.
    Raises:
        TrainingDataError: the pairs cannot be read.
        UnknownItem: a pair names an item that has no vector.
    """
    pairs = RatedPairs.read(training, split)
    if not len(pairs):
        return {"n_pairs": 0}
    baseline = scorer.baseline
    likes = pairs.ratings >= baseline.like_from
    p_like, ratings = scorer.predict(pairs.users, pairs.item_ids)
    biased = scorer.input(pairs.users, pairs.item_ids).baseline.clamp(*schema.RATING_RANGE).numpy()
    constant = np.full(len(pairs), baseline.global_mean)
    like_share = np.full(len(pairs), baseline.like_share)
    return {
        "n_pairs": len(pairs),
        "like_share": float(likes.mean()),
        "reliability": reliability(p_like, likes),
        "models": {
            "pair_scorer": {
                **_rating_metrics(ratings, pairs.ratings),
                "mae_of_median": mae(scorer.median(ratings), pairs.ratings),
                **_like_metrics(p_like, likes, p_like >= 0.5, pairs.user_ids),
                "ece": expected_calibration_error(p_like, likes),
            },
            "user_item_bias": {
                **_rating_metrics(biased, pairs.ratings),
                **_like_metrics(biased, likes, biased >= baseline.like_from, pairs.user_ids),
            },
            "global_mean": {
                **_rating_metrics(constant, pairs.ratings),
                **_like_metrics(constant, likes, like_share >= 0.5, pairs.user_ids),
                "ece": expected_calibration_error(like_share, likes),
            },
        },
    }


def _rating_metrics(predicted: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    return {"rmse": rmse(predicted, actual), "mae": mae(predicted, actual)}


def _like_metrics(scores: np.ndarray, likes: np.ndarray, said: np.ndarray, user_ids: Sequence[str]) -> dict[str, float]:
    metrics = {"accuracy": float((said == likes).mean())}
    if likes.any() and not likes.all():
        metrics["auc"] = auc(scores, likes)
    within = grouped_auc(scores, likes, user_ids)
    return metrics if within is None else {**metrics, "gauc": within}
