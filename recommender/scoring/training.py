"""Fit the pair scorer on the rated pairs of a training set."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import schema
from core.settings.models import AugmentationSettings, CrossEncoderSettings, Scorer, ScorerSettings
from core.storage import atomic_folder
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend
from recommender.fitting.determinism import deterministic
from recommender.fitting.device import moved
from recommender.fitting.early_stopping import EarlyStopping, weights_of
from recommender.fitting.finiteness import finite_loss
from recommender.fitting.summary import FitSummary, Progress
from recommender.inputs.augmentation import AS_THEY_ARE, Augmenter
from recommender.inputs.ids import IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.rated_pairs import RatedPairs
from recommender.inputs.user import UserState
from recommender.scoring.factors import RatingFactors, Ratings, fit_factors
from recommender.scoring.input import ItemRatings, RatingBaseline, scorer_input
from recommender.scoring.median import RatingMedian
from recommender.scoring.regression import fit_linear, fit_logistic
from recommender.scoring.scorer import Calibration, PairScorer, ScorerNetwork
from recommender.scoring.stack import StackedScorer
from recommender.scoring.stack_training import fit_stacked
from recommender.scoring.texts_by_others import TextsByOthers

PART = "pair scorer"
MIN_TRAIN_PAIRS = 200
# Below this, the validation window is too small to stop by or to calibrate on: a tenth of the training pairs stands in.
MIN_VALIDATION_PAIRS = 50
SHRINKAGES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
# Of the squared rating error beside the like loss; the two are of about the same size so.
RATING_WEIGHT = 0.5
# Keeps the regressions that the heads start from finite where a number is constant, or likes are separable.
REGRESSION_PENALTY = 1e-5
PREDICTION_BATCH = 4096
USER_PARTS = 4
UNKNOWN_USER = UserState()


def fit_scorer(
    fit: FitContext,
    vectors: Path,
    target: Path,
    settings: Scorer,
    augmentation: AugmentationSettings = AS_THEY_ARE,
) -> FitSummary | None:
    """Train on the ratings before the cut-off, stop and calibrate on the validation window, write the component.

    Where `fit.held` is given, epochs, calibration and weights are taken over, and no pair is held out.

    In training an item's ratings are those just before the pair; in validation those of the catalogue, as in serving.
    Training pairs that stand for a validation window too short are read as in training: the catalogue counts them.

    Args:
        vectors: The `vectors` component.
        target: The component's folder, written atomically.
        augmentation: How much more often the network sees training pairs on cold items.
    Returns:
        None where the shop has fewer than 200 ratings to train on, or those of one user alone: nothing is written then.
    Raises:
        TrainingDataError: the pairs cannot be read.
        BundleError: the vectors cannot be read.
        UnknownItem: a pair names an item that has no vector.
    """
    fit = fit.afresh()
    started, held = time.monotonic(), fit.held_summary()
    train = RatedPairs.read(fit.training, "train")
    if len(train) < MIN_TRAIN_PAIRS:
        fit.progress(f"pair scorer: none, for {len(train)} rated training pairs are fewer than {MIN_TRAIN_PAIRS}")
        return None
    with deterministic(fit.seed, fit.threads):
        validation = RatedPairs.read(fit.training, "validation")
        known: ItemRatings | None = None
        if held is None:
            train, validation, known = _with_validation(train, validation, fit.seed, fit.progress)
        if len(set(train.user_ids)) < 2:  # others' ratings are what an item's rating is foreseen from
            fit.progress(f"pair scorer: none, for all {len(train)} rated training pairs are of one user")
            return None
        light_settings = settings.light if isinstance(settings, CrossEncoderSettings) else settings
        items = ItemVectors.load(vectors)
        rows = Augmenter(augmentation, fit.seed).pairs(train.item_ids)
        texts = TextsByOthers.of(items, vectors, [train, validation], fit.progress, fit.device)
        light, epochs, best_epoch, metrics = _fit_light(fit, texts, train, rows, validation, known, light_settings)
        scorer: PairScorer | StackedScorer = light
        choices: dict[str, Any] = {"calibration": asdict(light.calibration), "median": asdict(light.median)}
        if isinstance(settings, CrossEncoderSettings):
            learned_from = train.take(rows)
            asked = validation, known
            scorer, of_language, course = fit_stacked(fit, light, learned_from, asked, settings, RATING_WEIGHT)
            metrics |= of_language
            choices |= {"course": asdict(course), "stack": asdict(scorer.stack)}
        summary = FitSummary(
            folder=target,
            epochs=epochs,
            best_epoch=best_epoch,
            metrics=metrics,
            seconds=time.monotonic() - started,
            choices=choices,
            caps=tuple(fit.caps),
        )
        with atomic_folder(target) as folder:
            scorer.save(folder)
            summary.write(folder)
    figures = ", ".join(f"validation {name} {value:.4f}" for name, value in metrics.items()) or "as chosen before"
    fit.progress(f"pair scorer: kept epoch {best_epoch}, {figures}, {summary.seconds:.1f} s")
    return summary


def _fit_light(
    fit: FitContext,
    texts: TextsByOthers,
    train: RatedPairs,
    rows: np.ndarray,
    validation: RatedPairs,
    known: ItemRatings | None,
    settings: ScorerSettings,
) -> tuple[PairScorer, int, int, dict[str, float]]:
    """Baseline and factors from the training pairs, the network from the chosen rows of them.

    Args:
        known: What others' ratings say of the validation pairs' items; those of the catalogue where None.
    Returns:
        The scorer, epochs run, the one kept, and errors on the validation pairs; none of those where choices are held.
    """
    held = fit.held_summary()
    baseline = fit_baseline(train, settings.like_from)
    factors, opinions = learn_factors(train, texts.items.ids, settings, fit.seed, fit.device)
    share = settings.stranger_share
    learned, learned_opinions = with_unknown_users(train.take(rows), opinions[:, rows], share, fit.seed)
    run = _Run(texts, baseline, factors, learned_opinions, learned, validation, known, settings)
    run.to(fit.device)
    if held is not None:
        run.train_again(held.best_epoch, fit.seed)
        calibration, median = Calibration(**held.choices["calibration"]), RatingMedian.of(held.choices["median"])
        light = PairScorer(
            run.network, baseline, factors, calibration, median, texts.items, use_modality=settings.use_modality
        )
        return light, held.best_epoch, held.best_epoch, {}
    epochs, best_epoch = run.train(fit.seed, fit.progress)
    logits, ratings = run.validation_outputs()
    calibration = fit_calibration(logits.unsqueeze(1), run.validation_likes)
    median = RatingMedian.fit(ratings.clamp(*schema.RATING_RANGE).cpu().numpy(), validation.ratings)
    metrics = run.validation_metrics(calibration)
    light = PairScorer(
        run.network, baseline, factors, calibration, median, texts.items, use_modality=settings.use_modality
    )
    return light, epochs, best_epoch, metrics


def with_unknown_users(
    train: RatedPairs, opinions: np.ndarray, share: float, seed: int
) -> tuple[RatedPairs, np.ndarray]:
    """Some of the pairs once more, with a user without any history: few training pairs are of a first rating.

    Args:
        opinions: As `learn_factors` returns them.
        share: Of the pairs that come twice.
    Returns:
        All pairs, and the opinions of them, shape (n, 2).
    """
    rows = np.random.default_rng(seed).permutation(len(train))[: round(share * len(train))]
    strangers = replace(train.take(rows), users=(UNKNOWN_USER,) * len(rows))
    return train.join(strangers), np.concatenate([opinions[0], opinions[1, rows]])


def learn_factors(
    train: RatedPairs, ids: IdMap, settings: ScorerSettings, seed: int, device: str = "cpu"
) -> tuple[RatingFactors, np.ndarray]:
    """Factorise the training ratings, and say what the factors make of the very same pairs.

    Factors that have seen a user's ratings would predict them better than those of a new pair. So the users are dealt
    into parts, and the pairs of each are predicted by factors that were learned from the other parts.

    Args:
        device: Where they are learned; they answer on the CPU, a few small products at a time.
    Returns:
        The factors of all ratings, and opinions of the training pairs: as they are, and with an unknown user in place
        of the user. Shape (2, N, 2).
    """
    known = {user_id: number for number, user_id in enumerate(dict.fromkeys(train.user_ids))}
    indices = [ids.index(item_id) for item_id in train.item_ids]
    ratings = Ratings(
        torch.tensor([known[user_id] for user_id in train.user_ids]),
        torch.tensor(indices),
        torch.from_numpy(train.ratings).double(),
    )
    fit = partial(
        fit_factors, device=device, n_items=len(ids), rank=settings.factors, n_steps=settings.factor_steps, seed=seed
    )
    part_of = torch.from_numpy(np.random.default_rng(seed).permutation(len(known))) % USER_PARTS
    opinions = np.zeros((2, len(train), 2), dtype=np.float32)
    for part in range(USER_PARTS):
        rows = (part_of[ratings.users] == part).nonzero()[:, 0].tolist()
        others = fit(ratings.of_users(part_of != part))
        targets = [indices[row] for row in rows]
        opinions[0, rows] = others.opinions([train.users[row] for row in rows], targets, ids)
        opinions[1, rows] = others.opinions([UNKNOWN_USER] * len(rows), targets, ids)
    return fit(ratings), opinions


def fit_baseline(train: RatedPairs, like_from: float) -> RatingBaseline:
    """Choose the two shrinkages by the squared error on the training pairs, whose features never hold the rating."""
    global_mean = float(train.ratings.mean(dtype=np.float64))
    like_share = float((train.ratings >= like_from).mean())
    user_mean = np.array([np.nan if user.mean_rating is None else user.mean_rating for user in train.users])
    user_n = np.array([user.n_ratings for user in train.users], dtype=np.float64)

    def error(candidate: RatingBaseline) -> float:
        biases = candidate.user_bias(user_mean, user_n) + candidate.item_bias(train.item_means, train.item_counts)
        return float(np.mean((global_mean + biases - train.ratings) ** 2))

    return min(
        (
            RatingBaseline(global_mean, like_share, like_from, user, item)
            for user, item in product(SHRINKAGES, repeat=2)
        ),
        key=error,
    )


def fit_calibration(logits: Tensor, likes: Tensor) -> Calibration:
    """Platt scaling; left as it is where all pairs are likes or none is, or where the slope would turn.

    Args:
        logits: Of the validation pairs. Shape (N, 1).
        likes: 1 for a like, else 0. Shape (N,), float32.
    """
    if likes.min() == likes.max():
        return Calibration()
    (slope,), offset = fit_logistic(logits, likes, penalty=0.0)
    return Calibration(slope, offset) if slope > 0 else Calibration()


class _Run:
    """One training run: the network, the inputs as tensors, and the loop over them."""

    def __init__(
        self,
        texts: TextsByOthers,
        baseline: RatingBaseline,
        factors: RatingFactors,
        train_opinions: np.ndarray,
        train: RatedPairs,
        validation: RatedPairs,
        validation_ratings: ItemRatings | None,
        settings: ScorerSettings,
    ) -> None:
        vectors = texts.versions
        self.settings, self.content = settings, vectors.content(True, settings.use_modality)
        self.network = ScorerNetwork(self.content.shape[1], settings.hidden, settings.dropout)
        ratings = before_each(train)
        self.train_input = scorer_input(train.users, texts.rows_of(train), ratings, vectors, baseline, train_opinions)
        indices = [vectors.ids.index(item_id) for item_id in validation.item_ids]
        ratings = validation_ratings or ItemRatings.of_catalogue(vectors.catalogue).take(indices)
        opinions = factors.opinions(validation.users, indices, vectors.ids)
        rows = texts.rows_of(validation)
        self.validation_input = scorer_input(validation.users, rows, ratings, vectors, baseline, opinions)
        self.train_ratings = torch.from_numpy(train.ratings)
        self.validation_ratings = torch.from_numpy(validation.ratings)
        self.train_likes = (self.train_ratings >= settings.like_from).float()
        self.validation_likes = (self.validation_ratings >= settings.like_from).float()
        self._start_from_numbers()

    def _start_from_numbers(self) -> None:
        """Put the regressions on the numbers alone into the network: of the likes, and of what the baseline leaves."""
        numbers = self.train_input.numbers
        like_weights, like_offset = fit_logistic(numbers, self.train_likes, REGRESSION_PENALTY)
        weights, offset = fit_linear(numbers, self.train_ratings - self.train_input.baseline, REGRESSION_PENALTY)
        with torch.no_grad():
            self.network.of_numbers.weight.copy_(torch.tensor([like_weights, weights]))
            self.network.of_numbers.bias.copy_(torch.tensor([like_offset, offset]))

    def to(self, device: str) -> None:
        """Take everything to where the network is to learn."""
        self.network.to(device)
        self.content = self.content.to(device)
        self.train_input, self.validation_input = moved(self.train_input, device), moved(self.validation_input, device)
        self.train_ratings, self.train_likes = self.train_ratings.to(device), self.train_likes.to(device)
        self.validation_ratings = self.validation_ratings.to(device)
        self.validation_likes = self.validation_likes.to(device)

    def train(self, seed: int, progress: Progress) -> tuple[int, int]:
        """Train until validation stops getting better, and put the best weights back.

        Returns:
            Epochs run, and the epoch kept; epoch 0 is the regression on the numbers.
        """
        network, settings = self.network, self.settings
        optimiser, order = self._optimiser(), torch.Generator().manual_seed(seed)
        start = finite_loss(PART, self._validation_loss(), "on validation, before the first epoch")
        best = EarlyStopping(start, weights_of(network), settings.patience, lower_is_better=True, part=PART)
        epoch = 0
        for epoch in range(1, settings.max_epochs + 1):
            started = time.monotonic()
            train_loss = self._train_epoch(optimiser, order, epoch)
            validation_loss = self._validation_loss()
            if best.is_beaten_by(validation_loss):
                best.keep(epoch, validation_loss, weights_of(network))
            progress(
                f"pair scorer epoch {epoch}/{settings.max_epochs}: loss {train_loss:.4f}, "
                f"validation {validation_loss:.4f} (best {best.value:.4f}), {time.monotonic() - started:.1f} s"
            )
            if best.is_over(epoch):
                break
        network.load_state_dict(best.state)
        return epoch, best.step

    def train_again(self, n_epochs: int, seed: int) -> None:
        """Train as `train` does, for a number of epochs that was chosen before."""
        optimiser, order = self._optimiser(), torch.Generator().manual_seed(seed)
        for epoch in range(1, n_epochs + 1):
            self._train_epoch(optimiser, order, epoch)
        self.network.eval()

    def _optimiser(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def _train_epoch(self, optimiser: torch.optim.Optimizer, order: torch.Generator, epoch: int) -> float:
        network, total = self.network.train(), 0.0
        shuffled = torch.randperm(len(self.train_input), generator=order).to(self.content.device)
        for rows in shuffled.split(self.settings.batch_size):
            logits, ratings = network(self.train_input.take(rows), network.project(self.content))
            loss = _loss(logits, ratings, self.train_likes[rows], self.train_ratings[rows])
            total += descend(PART, loss, optimiser, f"epoch {epoch}") * len(rows)
        return total / len(shuffled)

    def _validation_loss(self) -> float:
        logits, ratings = self.validation_outputs()
        return float(_loss(logits, ratings, self.validation_likes, self.validation_ratings))

    @torch.no_grad()
    def validation_outputs(self) -> tuple[Tensor, Tensor]:
        """Like logits and ratings of the validation pairs. Shapes (N,)."""
        network, pairs = self.network.eval(), self.validation_input
        items = network.project(self.content)
        batches = torch.arange(len(pairs), device=self.content.device).split(PREDICTION_BATCH)
        parts = [network(pairs.take(rows), items) for rows in batches]
        return torch.cat([like for like, _ in parts]), torch.cat([rating for _, rating in parts])

    def validation_metrics(self, calibration: Calibration) -> dict[str, float]:
        """Errors on the validation pairs, with the calibration."""
        logits, ratings = self.validation_outputs()
        p_like = calibration(logits).clamp(1e-6, 1 - 1e-6)
        return {
            "rmse": float(F.mse_loss(ratings, self.validation_ratings).sqrt()),
            "baseline_rmse": float(F.mse_loss(self.validation_input.baseline, self.validation_ratings).sqrt()),
            "log_loss": float(F.binary_cross_entropy(p_like, self.validation_likes)),
        }


def _loss(logits: Tensor, predicted: Tensor, likes: Tensor, ratings: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, likes) + RATING_WEIGHT * F.mse_loss(predicted, ratings)


def _with_validation(
    train: RatedPairs, validation: RatedPairs, seed: int, progress: Progress
) -> tuple[RatedPairs, RatedPairs, ItemRatings | None]:
    """The training pairs, the validation pairs, and what is known of their items' ratings where not the catalogue's."""
    if len(validation) >= MIN_VALIDATION_PAIRS:
        return train, validation, None
    progress(
        f"pair scorer: the validation window has {len(validation)} rated pairs, fewer than {MIN_VALIDATION_PAIRS}: "
        "a tenth of the training pairs is held out instead"
    )
    shuffled = np.random.default_rng(seed).permutation(len(train))
    # First those that read what serving reads: an item's text of the catalogue.
    shuffled = shuffled[np.argsort([train.item_texts[row] is not None for row in shuffled], kind="stable")]
    n_held_out = len(train) // 10
    held_out = train.take(shuffled[:n_held_out])
    # The catalogue's ratings are as of the cut-off: these pairs' own are among them.
    return train.take(np.sort(shuffled[n_held_out:])), held_out, before_each(held_out)


def before_each(pairs: RatedPairs) -> ItemRatings:
    """The items' ratings as they were just before each pair."""
    return ItemRatings(pairs.item_means, pairs.item_counts)
