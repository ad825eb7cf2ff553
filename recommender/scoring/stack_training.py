"""Fit the cross-encoder beside a light scorer, and weigh the two by the validation window."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from core import schema
from core.settings.models import CrossEncoderSettings
from recommender.fitting.context import FitContext
from recommender.inputs.rated_pairs import RatedPairs
from recommender.scoring.cross_encoder import load_cross_encoder, pair_texts
from recommender.scoring.cross_encoder_training import Examples, train_cross_encoder
from recommender.scoring.scorer import PairScorer
from recommender.scoring.stack import Stack, StackedScorer


def fit_stacked(
    fit: FitContext,
    light: PairScorer,
    train: RatedPairs,
    validation: RatedPairs,
    settings: CrossEncoderSettings,
    rating_weight: float,
) -> tuple[StackedScorer, dict[str, float]]:
    """Train the language model on the training pairs, stop it and weigh it on a sample of the validation pairs.

    Args:
        light: Trained on the same pairs.
        rating_weight: Of the squared rating error beside the like loss.
    Returns:
        The scorer, and errors on the sample: of both together, and of each alone.
    Raises:
        EncoderError: the language model is named by a path that does not exist.
        CrossEncoderError: it cannot be loaded, or cannot see so many tokens.
    """
    sample = validation.take(
        np.sort(np.random.default_rng(fit.seed).permutation(len(validation))[: settings.max_validation])
    )
    train_examples, examples = (_examples(light, pairs) for pairs in (train, sample))
    like_share = min(max(light.baseline.like_share, 0.01), 0.99)
    start = (float(np.log(like_share / (1 - like_share))), light.baseline.global_mean)
    encoder, reason = load_cross_encoder(settings, start)
    fit.progress(f"cross-encoder {settings.model}: {reason}")
    _, best_step = train_cross_encoder(
        encoder, train_examples, examples, settings, rating_weight, fit.seed, fit.progress
    )
    by_light = light.outputs(sample.users, sample.item_ids)
    by_language = encoder.outputs(examples.texts)
    stack = Stack.fit(by_light, by_language, examples.likes, examples.ratings)
    scorer = StackedScorer(light, encoder, stack)
    p_like, ratings = (torch.from_numpy(values) for values in scorer.predict(sample.users, sample.item_ids))
    errors = {
        "stacked_rmse": F.mse_loss(ratings, examples.ratings).sqrt(),
        "stacked_log_loss": F.binary_cross_entropy(p_like, examples.likes),
        "cross_encoder_rmse": F.mse_loss(by_language[1].clamp(*schema.RATING_RANGE), examples.ratings).sqrt(),
        "cross_encoder_log_loss": F.binary_cross_entropy_with_logits(by_language[0], examples.likes),
        "light_rmse": F.mse_loss(by_light[1].clamp(*schema.RATING_RANGE), examples.ratings).sqrt(),
    }
    return scorer, {"cross_encoder_step": float(best_step), **{name: float(value) for name, value in errors.items()}}


def _examples(light: PairScorer, pairs: RatedPairs) -> Examples:
    catalogue, like_from = light.vectors.catalogue, light.baseline.like_from
    rows = zip(pairs.users, pairs.item_ids, strict=True)
    texts = [pair_texts(user, item_id, catalogue, like_from) for user, item_id in rows]
    return Examples(texts, torch.from_numpy(pairs.ratings), like_from)
