"""Fit the pair scorer's language model: joint loss of likes and ratings, stopped by the validation window."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from core.settings.models import CrossEncoderSettings
from recommender.fitting.descent import descend
from recommender.fitting.early_stopping import EarlyStopping, weights_of
from recommender.fitting.finiteness import finite_loss
from recommender.fitting.schedule import warmed_up
from recommender.fitting.summary import Progress
from recommender.scoring.cross_encoder import CrossEncoder, Texts

PART = "cross-encoder"


@dataclass(frozen=True)
class CrossEncoderCourse:
    """How long a language model was trained.

    Attributes:
        n_steps: Over which the rate was to come down.
        kept: The step whose weights were kept; 0 where training has brought nothing.
    """

    n_steps: int
    kept: int


class Examples:
    """Pairs as texts, with what became of them.

    Attributes:
        texts: Profile and item of each pair.
        likes: 1 for a like, else 0. Shape (N,), float32.
        ratings: Shape (N,), float32.
    """

    def __init__(self, texts: list[Texts], ratings: Tensor, like_from: float) -> None:
        self.texts, self.ratings = texts, ratings
        self.likes = (ratings >= like_from).float()

    def __len__(self) -> int:
        return len(self.texts)


def train_cross_encoder(
    encoder: CrossEncoder,
    train: Examples,
    validation: Examples,
    settings: CrossEncoderSettings,
    rating_weight: float,
    seed: int,
    progress: Progress,
) -> CrossEncoderCourse:
    """AdamW with warm-up and linear descent; the weights of the best look at the validation pairs are put back.

    Args:
        rating_weight: Of the squared rating error beside the like loss.
    Source: Loshchilov & Hutter 2019, Decoupled weight decay regularization.
    """
    batches_per_epoch = -(-len(train) // settings.batch_size)
    n_steps = min(settings.max_steps, settings.max_epochs * batches_per_epoch)
    start = finite_loss(PART, _loss_of(encoder, validation, rating_weight), "on validation, before the first step")
    patience = settings.patience * settings.look_every
    best = EarlyStopping(start, weights_of(encoder), patience, lower_is_better=True, part=PART)
    started, total, step = time.monotonic(), 0.0, 0
    for step, loss in enumerate(_steps(encoder, train, settings, rating_weight, n_steps, seed), start=1):
        total += loss
        if step % settings.look_every and step < n_steps:
            continue
        validation_loss = _loss_of(encoder, validation, rating_weight)
        if best.is_beaten_by(validation_loss):
            best.keep(step, validation_loss, weights_of(encoder))
        progress(
            f"cross-encoder step {step}/{n_steps}: mean loss {total / step:.4f}, validation {validation_loss:.4f} "
            f"(best {best.value:.4f}), {time.monotonic() - started:.1f} s"
        )
        if best.is_over(step):
            break
    encoder.load_state_dict(best.state)
    return CrossEncoderCourse(n_steps, best.step)


def train_cross_encoder_again(
    encoder: CrossEncoder,
    train: Examples,
    settings: CrossEncoderSettings,
    rating_weight: float,
    seed: int,
    course: CrossEncoderCourse,
) -> None:
    """Train as `train_cross_encoder` does, by a course that was chosen before: its rates, up to the step that was kept.

    Args:
        rating_weight: Of the squared rating error beside the like loss.
    """
    for _ in islice(_steps(encoder, train, settings, rating_weight, course.n_steps, seed), course.kept):
        pass


def _steps(
    encoder: CrossEncoder,
    train: Examples,
    settings: CrossEncoderSettings,
    rating_weight: float,
    n_steps: int,
    seed: int,
) -> Iterator[float]:
    """Take the steps; yields the loss of each."""
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = warmed_up(optimiser, n_steps)
    for step, rows in enumerate(_batches(len(train), settings.batch_size, n_steps, seed), start=1):
        encoder.train()
        logits, ratings = encoder([train.texts[row] for row in rows.tolist()])
        likes, rated = (one[rows].to(logits.device) for one in (train.likes, train.ratings))
        loss = _loss(logits, ratings, likes, rated, rating_weight)
        value = descend(PART, loss, optimiser, f"step {step}")
        schedule.step()
        yield value


def _batches(n_rows: int, batch_size: int, n_batches: int, seed: int) -> Iterator[Tensor]:
    """Rows in a new order each epoch."""
    order, given = torch.Generator().manual_seed(seed), 0
    while True:
        for rows in torch.randperm(n_rows, generator=order).split(batch_size):
            if given == n_batches:
                return
            given += 1
            yield rows


def _loss_of(encoder: CrossEncoder, examples: Examples, rating_weight: float) -> float:
    logits, ratings = encoder.outputs(examples.texts)
    return float(_loss(logits, ratings, examples.likes, examples.ratings, rating_weight))


def _loss(logits: Tensor, predicted: Tensor, likes: Tensor, ratings: Tensor, rating_weight: float) -> Tensor:
    like_loss = F.binary_cross_entropy_with_logits(logits, likes)
    return like_loss + rating_weight * F.mse_loss(predicted, ratings)
