"""Fine-tunes the text encoder on the shop's sequences: the text of what came next is drawn to the texts before it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from core.settings.models import EncoderSettings
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.weights import learned_weights, trainable, with_weights
from recommender.encoders.whitening import Whitening
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend
from recommender.fitting.device import autocast, choose_dtype, device_of, moved
from recommender.fitting.early_stopping import EarlyStopping
from recommender.fitting.schedule import warmed_up
from recommender.inputs.batching import by_length
from recommender.inputs.item_vectors import RECENCY, ItemVectors
from recommender.inputs.queries import A_SAMPLE, Queries, read_queries, sample_queries
from recommender.inputs.sequences import TrainingSequence, read_sequences
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.metrics.top_k import Scores

PART = "text encoder"
# Items of a sequence that a step sees: what came next hangs on the newest few.
WINDOW = 5
# Of a step; fewer where the shop has fewer sequences.
MAX_WINDOWS = 256
TEXTS_PER_PASS = 16
# Enough for a steady choice between two encoders.
MAX_QUERIES = 2000


@dataclass(frozen=True)
class Choice:
    """Which encoder is kept, and by what figures.

    Attributes:
        before: NDCG at k of the pretrained encoder's vectors on the validation window.
        after: The best one of any check while it was fine-tuned.
        check: Which one that was, from 1; 0 where there was none.
        weights: What was learned by then of the encoder; None where it ranks no better than before.
        vectors: Those that are kept.
        steps: After how many steps what was learned is as it is kept; 0 where nothing is.
        curve: Loss and NDCG of every check, as `FitSummary` has it.
        head: What was learned where that is a head; None elsewhere.
    """

    before: float
    after: float
    check: int
    weights: dict[str, torch.Tensor] | None
    vectors: ItemVectors
    steps: int = 0
    curve: tuple[dict[str, float], ...] = ()
    head: np.ndarray | None = None


@dataclass(frozen=True)
class Step:
    """Some windows of sequences, and what the encoder has to predict of them.

    Attributes:
        items: The different items. Shape (U,).
        before: How much each item weighs in what came before a place; one row per place. Shape (P, U), float32.
        target: Place in `items` of what came next. Shape (P,), int64.
        others: Items that are no negatives there: the rest of the same window. Shape (P, U), bool.
    """

    items: np.ndarray
    before: torch.Tensor
    target: torch.Tensor
    others: torch.Tensor


def fine_tune_encoder(
    fit: FitContext,
    pretrained: ItemVectors,
    whitening: Whitening,
    settings: EncoderSettings,
    ranker: Callable[[ItemVectors], Scores],
) -> Choice:
    """Learn from the training sequences; keep what was learned only if the validation window is ranked better by it.

    Vectors are whitened, in training too, by what was fitted to the pretrained ones: training starts at what they can.
    Runs under the caller's `fit.deterministic`.

    Args:
        pretrained: Whitened vectors of the pretrained encoder.
        ranker: Ranks the catalogue by vectors; encoders are compared by what it reaches with theirs.
    Raises:
        TrainingDataError: no sequence has two known items.
        EncoderError: the encoder cannot be loaded.
    """
    asked = read_queries(fit.training, "validation")
    queries = sample_queries(asked, MAX_QUERIES, fit.seed, warm_only=True)
    fit.cap("validation users that the text encoder is chosen by", len(queries), int(asked.is_warm.sum()), A_SAMPLE)
    before = ndcg_of(ranker(pretrained), queries, fit.k)
    unchanged: tuple[dict[str, torch.Tensor] | None, ItemVectors] = (None, pretrained)
    base = TextEncoder.load(settings.model_copy(update={"precision": "float32"}), fit.progress, fit.device)
    sequences = sequences_with_text(fit.training, pretrained)
    if not sequences or not len(queries):
        fit.progress("text encoder: nothing to fine-tune it on, or to evaluate it on")
        return Choice(before, 0.0, 0, *unchanged)
    untouched = copy.deepcopy(base.model)
    learner = TextEncoder(trainable(base.model, settings), base.tokenizer, settings.max_tokens, 1, torch.float32)
    tokens = learner.tokens(pretrained.catalogue.texts)
    checked_at, started = checks_of(settings), time.monotonic()
    best = EarlyStopping(0.0, unchanged, part=PART)
    losses: list[float] = []
    curve: list[dict[str, float]] = []
    for number, loss in enumerate(_learn(learner, tokens, sequences, whitening, settings, fit.seed), start=1):
        losses.append(loss)
        if number not in checked_at:
            continue
        weights = learned_weights(learner.model, settings)
        vectors = _vectors(untouched, base.tokenizer, weights, pretrained, whitening, settings)
        after = ndcg_of(ranker(vectors), queries, fit.k)
        fit.progress(
            f"text encoder, {settings.fine_tune}: step {number}/{settings.max_steps}, loss {np.mean(losses):.3f}, "
            f"{metric_key('ndcg', fit.k)} {after:.4f} (pretrained {before:.4f}), {time.monotonic() - started:.1f} s"
        )
        curve.append({"epoch": checked_at[number], "loss": float(np.mean(losses)), "ndcg": after})
        losses = []
        if best.is_beaten_by(after):
            best.keep(checked_at[number], after, (weights, vectors) if after > before else unchanged)
    is_kept = best.state[0] is not None
    n_steps = {check: number for number, check in checked_at.items()}[best.step] if is_kept else 0
    choice = Choice(before, best.value, best.step, *best.state, n_steps, tuple(curve))
    fit.progress(f"text encoder: fine-tuning is {'kept' if is_kept else 'dropped, as it ranks no better'}")
    return choice


def checks_of(settings: EncoderSettings) -> dict[int, int]:
    """After which steps fine-tuning is evaluated, and which check that is, from 1."""
    return {round(settings.max_steps * check / settings.checks): check for check in range(1, settings.checks + 1)}


def fine_tune_again(
    fit: FitContext, pretrained: ItemVectors, whitening: Whitening, settings: EncoderSettings, n_steps: int
) -> tuple[dict[str, torch.Tensor], ItemVectors]:
    """Learn from the training sequences for as many steps as were best before, at the rates of the whole course.

    Args:
        pretrained: Whitened vectors of the pretrained encoder.
        n_steps: `Choice.steps` of that fit, at least 1.
    Returns:
        What was learned, and the catalogue's vectors by it.
    Raises:
        TrainingDataError: no sequence has two known items.
        EncoderError: the encoder cannot be loaded.
    """
    base = TextEncoder.load(settings.model_copy(update={"precision": "float32"}), fit.progress, fit.device)
    untouched = copy.deepcopy(base.model)
    learner = TextEncoder(trainable(base.model, settings), base.tokenizer, settings.max_tokens, 1, torch.float32)
    tokens = learner.tokens(pretrained.catalogue.texts)
    sequences = sequences_with_text(fit.training, pretrained)
    losses = list(islice(_learn(learner, tokens, sequences, whitening, settings, fit.seed), n_steps))
    fit.progress(f"text encoder, {settings.fine_tune}: {n_steps} steps as chosen before, loss {np.mean(losses):.3f}")
    weights = learned_weights(learner.model, settings)
    return weights, _vectors(untouched, base.tokenizer, weights, pretrained, whitening, settings)


def sequences_with_text(training: Path, vectors: ItemVectors) -> list[TrainingSequence]:
    """The training sequences without items that have no text; each has a target behind another item.

    Raises:
        TrainingDataError: no sequence has two known items.
    """
    has_text = vectors.text.any(dim=1)
    longest = max(len(vectors.ids), 2)
    cut = [sequence.where(has_text[sequence.items]) for sequence in read_sequences(training, vectors.ids, longest)]
    return [sequence for sequence in cut if sequence.first_target < len(sequence)]


def steps(sequences: list[TrainingSequence], n_texts: int, generator: np.random.Generator) -> Iterator[Step]:
    """Windows of sequences in random order, round after round: as many in a step as have `n_texts` different items.

    Args:
        sequences: Each with a target behind another item; a window of one holds such a target too.
    """
    most = min(len(sequences), MAX_WINDOWS)
    windows: list[TrainingSequence] = []
    items: set[int] = set()
    while True:
        for number in generator.permutation(len(sequences)):
            sequence = sequences[number]
            first = max(sequence.first_target + 1 - WINDOW, 0)
            start = int(generator.integers(first, max(len(sequence) - WINDOW, 0) + 1))
            window = sequence.stretch(start, start + WINDOW)
            inside = window.items.tolist()
            if windows and (len(windows) == most or len(items.union(inside)) > n_texts):
                yield as_step(windows)
                windows, items = [], set()
            windows.append(window)
            items.update(inside)


def as_step(windows: list[TrainingSequence]) -> Step:
    """Every target of every window that something came before, with what came before it, newest counting most."""
    items = np.unique(np.concatenate([window.items for window in windows]))
    n_places = sum(len(window) - window.first_target for window in windows)
    before = torch.zeros(n_places, len(items))
    others = torch.zeros(n_places, len(items), dtype=torch.bool)
    target = torch.zeros(n_places, dtype=torch.int64)
    row = 0
    for window in windows:
        columns = torch.from_numpy(np.searchsorted(items, window.items))
        for place in range(window.first_target, len(window)):
            before[row, columns[:place]] = RECENCY ** torch.arange(place - 1, -1, -1, dtype=torch.float32)
            others[row, columns] = True
            target[row] = columns[place]
            others[row, target[row]] = False
            row += 1
    return Step(items, before, target, others)


def embed_by_length(learner: TextEncoder, tokens: list[list[int]]) -> torch.Tensor:
    """`TextEncoder.embed` in passes of texts of about equal length: there is little padding then. Shape (B, width)."""
    batches = by_length([len(ids) for ids in tokens], TEXTS_PER_PASS)
    passes = [learner.embed([tokens[place] for place in places]) for places in batches]
    order = torch.tensor(list(chain.from_iterable(batches))).argsort()
    return torch.cat(passes)[order.to(device_of(learner.model))]


def contrastive_loss(vectors: torch.Tensor, step: Step, temperature: float, log_shares: torch.Tensor) -> torch.Tensor:
    """Softmax loss of what came next among the step's items, by cosine to the weighted mean of what came before.

    An item stands in a step once and the user's other items are left out, so that no negative is a positive. Common
    items stand in more steps than rare ones; what they would lose by being negatives so often is given back.

    Args:
        vectors: Of the step's items, each of length 1. Shape (U, D).
        log_shares: Log of each item's share of all entries. Shape (U,).
    Source: van den Oord et al. 2018 (InfoNCE), in-batch negatives; the correction is Yi et al. 2019, section 4.
    """
    profiles = F.normalize(step.before @ vectors, dim=-1)  # (P, D)
    logits = profiles @ vectors.T / temperature - log_shares  # (P, U)
    logits = logits.masked_fill(step.others, -torch.inf)
    return F.cross_entropy(logits, step.target)


def whiten(vectors: torch.Tensor, whitening: Whitening) -> torch.Tensor:
    """`Whitening.apply`, through which gradients flow. Shape (n, D) -> (n, d)."""
    mean, projection = (torch.from_numpy(one).to(vectors.device) for one in (whitening.mean, whitening.projection))
    return F.normalize((vectors - mean) @ projection, dim=-1)


def _learn(
    learner: TextEncoder,
    tokens: list[list[int]],
    sequences: list[TrainingSequence],
    whitening: Whitening,
    settings: EncoderSettings,
    seed: int,
) -> Iterator[float]:
    """Take the steps; yields the loss of each. AdamW, the rate warmed up and then let down in a line."""
    weights = [weight for weight in learner.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.rate, weight_decay=0.01)
    schedule = warmed_up(optimizer, settings.max_steps)
    drawn = steps(sequences, settings.step_texts, np.random.default_rng(seed))
    counts = np.bincount(np.concatenate([sequence.targets for sequence in sequences]), minlength=len(tokens) + 1)
    log_shares = torch.from_numpy(np.log(np.maximum(counts, 1) / counts.sum())).float()
    device = device_of(learner.model)
    # The weights stay float32; where the encoder computes in bfloat16, training does too.
    dtype, _ = choose_dtype(settings.precision, device)
    for number, drawn_step in enumerate(islice(drawn, settings.max_steps), start=1):
        step = moved(drawn_step, device)
        learner.model.train()
        with autocast(device, dtype):
            raw = embed_by_length(learner, [tokens[index - 1] for index in step.items])
        loss = contrastive_loss(whiten(raw, whitening), step, settings.temperature, log_shares[step.items].to(device))
        value = descend(PART, loss, optimizer, f"step {number}")
        schedule.step()
        learner.model.eval()
        yield value


def _vectors(
    untouched: Any,
    tokenizer: Any,
    weights: dict[str, torch.Tensor],
    pretrained: ItemVectors,
    whitening: Whitening,
    settings: EncoderSettings,
) -> ItemVectors:
    """The catalogue by the encoder as it would be loaded again with these weights."""
    dtype, _ = choose_dtype(settings.precision, device_of(untouched))
    model = with_weights(copy.deepcopy(untouched), settings, weights)
    encoder = TextEncoder(model, tokenizer, settings.max_tokens, settings.batch_size, dtype)
    return whitened_vectors(pretrained, encoder, whitening)


def whitened_vectors(like: ItemVectors, encoder: TextEncoder, whitening: Whitening) -> ItemVectors:
    """The same catalogue with its vectors by another encoder beside them; zeros where there are no words."""
    raw = encoder.encode(like.catalogue.texts, lambda _: None)
    has_text = raw.any(axis=1, keepdims=True)
    rows = np.where(has_text, whitening.apply(raw), np.float32(0))
    return replace(like, tuned=ItemVectors.from_rows(like.catalogue, rows).text)


def ndcg_of(ranker: Scores, queries: Queries, k: int) -> float:
    """Mean NDCG of a ranker; 0 where there is no query."""
    if not len(queries):
        return 0.0
    return float(evaluate_ranker(ranker, queries, k).per_query["ndcg"].mean())
