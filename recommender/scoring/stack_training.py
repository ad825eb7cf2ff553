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
from recommender.scoring.cross_encoder_training import (
    CrossEncoderCourse,
    Examples,
    train_cross_encoder,
    train_cross_encoder_again,
)
from recommender.scoring.input import ItemRatings
from recommender.scoring.scorer import PairScorer
from recommender.scoring.stack import Stack, StackedScorer


def fit_stacked(
    fit: FitContext,
    light: PairScorer,
    train: RatedPairs,
    asked: tuple[RatedPairs, ItemRatings | None],
    settings: CrossEncoderSettings,
    rating_weight: float,
) -> tuple[StackedScorer, dict[str, float], CrossEncoderCourse]:
    """Train the language model on the training pairs, stop it and weigh it on a sample of the validation pairs.

    Where `fit.held` is given, course and weights are taken over, and no pair is asked for.

    Args:
        light: Trained on the same pairs.
        asked: The validation pairs, and what is known of their items' ratings; those of the catalogue where None.
        rating_weight: Of the squared rating error beside the like loss.
    Returns:
        The scorer, errors on the sample (of both together, and of each alone), and how long training went.
    Raises:
        EncoderError: the language model is named by a path that does not exist.
        CrossEncoderError: it cannot be loaded, or cannot see so many tokens.
    """
    held = fit.held_summary()
    like_share = min(max(light.baseline.like_share, 0.01), 0.99)
    start = (float(np.log(like_share / (1 - like_share))), light.baseline.global_mean)
    encoder, reason = load_cross_encoder(settings, start, fit.device)
    fit.progress(f"cross-encoder {settings.model}: {reason}")
    train_examples = _examples(light, train)
    if held is not None:
        course = CrossEncoderCourse(**held.choices["course"])
        train_cross_encoder_again(encoder, train_examples, settings, rating_weight, fit.seed, course)
        return StackedScorer(light, encoder, Stack.of(held.choices["stack"])), {}, course
    validation, known = asked
    rows = np.sort(np.random.default_rng(fit.seed).permutation(len(validation))[: settings.max_validation])
    sample, ratings_known = validation.take(rows), None if known is None else known.take(rows.tolist())
    fit.cap("pairs that the cross-encoder is chosen by", len(sample), len(validation), "scorer.max_validation")
    examples = _examples(light, sample)
    course = train_cross_encoder(encoder, train_examples, examples, settings, rating_weight, fit.seed, fit.progress)
    by_light = light.outputs(sample.users, sample.item_ids, ratings_known)
    by_language = encoder.outputs(examples.texts)
    shown = min(course.n_steps * settings.batch_size, len(train))
    fit.cap("pairs that the cross-encoder is shown", shown, len(train), "scorer.max_steps")
    stack = Stack.fit(by_light, by_language, examples.likes, examples.ratings)
    scorer = StackedScorer(light, encoder, stack)
    answers = scorer.predict(sample.users, sample.item_ids, ratings_known)
    p_like, ratings = (torch.from_numpy(values) for values in answers)
    errors = {
        "stacked_rmse": F.mse_loss(ratings, examples.ratings).sqrt(),
        "stacked_log_loss": F.binary_cross_entropy(p_like, examples.likes),
        "cross_encoder_rmse": F.mse_loss(by_language[1].clamp(*schema.RATING_RANGE), examples.ratings).sqrt(),
        "cross_encoder_log_loss": F.binary_cross_entropy_with_logits(by_language[0], examples.likes),
        "light_rmse": F.mse_loss(by_light[1].clamp(*schema.RATING_RANGE), examples.ratings).sqrt(),
    }
    figures = {"cross_encoder_step": float(course.kept), **{name: float(value) for name, value in errors.items()}}
    return scorer, figures, course


def _examples(light: PairScorer, pairs: RatedPairs) -> Examples:
    catalogue, like_from = light.vectors.catalogue, light.baseline.like_from
    rows = zip(pairs.users, pairs.item_ids, pairs.item_texts, strict=True)
    texts = [pair_texts(user, item_id, catalogue, like_from, text) for user, item_id, text in rows]
    return Examples(texts, torch.from_numpy(pairs.ratings), like_from)
