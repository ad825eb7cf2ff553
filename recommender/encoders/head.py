"""Fine-tunes a linear head on the frozen text encoder: what came next is drawn to what came before it, in seconds.

The head is one matrix behind the whitening, so that any text is encoded by both as quickly as by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch.nn import functional as F

from core.settings.models import EncoderSettings
from recommender.encoders.fine_tuning import (
    MAX_QUERIES,
    PART,
    WINDOW,
    Choice,
    checks_of,
    ndcg_of,
    sequences_with_text,
)
from recommender.errors import TrainingDataError
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend
from recommender.fitting.device import moved
from recommender.fitting.early_stopping import EarlyStopping
from recommender.inputs.ids import PADDING
from recommender.inputs.item_vectors import RECENCY, ItemVectors
from recommender.inputs.queries import A_SAMPLE, read_queries, sample_queries
from recommender.inputs.sequences import TrainingSequence
from recommender.metrics.ranking import metric_key
from recommender.metrics.top_k import Scores

# Of a step. Every item of a small catalogue is a negative; of a large one so many are drawn.
PLACES = 512
CANDIDATES = 2048


@dataclass(frozen=True)
class Places:
    """Places of the training sequences that something came before.

    Attributes:
        before: The newest items before each place, PADDING where there are fewer. Shape (P, WINDOW), int64.
        weights: How much each of them counts, newest most. Shape (P, WINDOW), float32.
        targets: What came next. Shape (P,), int64.
    """

    before: torch.Tensor
    weights: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def of(cls, sequences: list[TrainingSequence]) -> Places:
        """Every target of every sequence."""
        rows, targets = [], []
        for sequence in sequences:
            padded = np.concatenate([np.full(WINDOW, PADDING), sequence.items.numpy()])
            windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
            rows.append(windows[sequence.first_target : len(sequence)])
            targets.append(sequence.items[sequence.first_target :])
        before = torch.from_numpy(np.concatenate(rows).astype(np.int64))
        ages = torch.arange(WINDOW - 1, -1, -1, dtype=torch.float32)
        return cls(before, (RECENCY**ages) * (before != PADDING), torch.cat(targets))

    def take(self, rows: torch.Tensor) -> Places:
        """Some of them."""
        return Places(self.before[rows], self.weights[rows], self.targets[rows])


def fine_tune_head(
    fit: FitContext,
    pretrained: ItemVectors,
    settings: EncoderSettings,
    ranker: Callable[[ItemVectors], Scores],
) -> Choice:
    """Learn the head from the training sequences; keep it only if the validation window is ranked better by it.

    Runs under the caller's `fit.deterministic`.

    Args:
        pretrained: Whitened vectors of the encoder.
        ranker: Ranks the catalogue by vectors; heads are compared by what it reaches with theirs.
    """
    asked = read_queries(fit.training, "validation")
    queries = sample_queries(asked, MAX_QUERIES, fit.seed, warm_only=True)
    fit.cap("validation users that the text encoder is chosen by", len(queries), int(asked.is_warm.sum()), A_SAMPLE)
    before = ndcg_of(ranker(pretrained), queries, fit.k)
    try:
        sequences = sequences_with_text(fit.training, pretrained)
    except TrainingDataError:
        sequences = []  # the sequence model says so, where it is fitted
    if not sequences or not len(queries):
        fit.progress("text encoder: nothing to fine-tune it on, or to evaluate it on")
        return Choice(before, 0.0, 0, None, pretrained)
    checked_at, started = checks_of(settings), time.monotonic()
    best = EarlyStopping(0.0, Choice(before, 0.0, 0, None, pretrained), part=PART)
    losses: list[float] = []
    curve: list[dict[str, float]] = []
    for number, (loss, head) in enumerate(_learn(fit, pretrained.text, sequences, settings), start=1):
        losses.append(loss)
        if number not in checked_at:
            continue
        vectors = with_head(pretrained, head)
        after = ndcg_of(ranker(vectors), queries, fit.k)
        fit.progress(
            f"text encoder, head: step {number}/{settings.max_steps}, loss {np.mean(losses):.3f}, "
            f"{metric_key('ndcg', fit.k)} {after:.4f} (pretrained {before:.4f}), {time.monotonic() - started:.1f} s"
        )
        check = checked_at[number]
        curve.append({"epoch": check, "loss": float(np.mean(losses)), "ndcg": after})
        losses = []
        if best.is_beaten_by(after):
            kept = Choice(before, after, check, None, vectors, number, head=head.numpy())
            best.keep(check, after, kept if after > before else replace(best.state, after=after, check=check))
    is_kept = best.state.steps > 0
    fit.progress(f"text encoder: fine-tuning is {'kept' if is_kept else 'dropped, as it ranks no better'}")
    return replace(best.state, curve=tuple(curve))


def fine_tune_head_again(
    fit: FitContext, pretrained: ItemVectors, settings: EncoderSettings, n_steps: int
) -> tuple[np.ndarray, ItemVectors]:
    """Learn the head from the training sequences for as many steps as were best before.

    Args:
        n_steps: `Choice.steps` of that fit, at least 1.
    Returns:
        The head, shape (d, d), and the catalogue's vectors by it.
    Raises:
        TrainingDataError: no sequence has two known items.
    """
    sequences = sequences_with_text(fit.training, pretrained)
    *_, (loss, head) = islice(_learn(fit, pretrained.text, sequences, settings), n_steps)
    fit.progress(f"text encoder, head: {n_steps} steps as chosen before, loss {loss:.3f}")
    return head.numpy(), with_head(pretrained, head)


def with_head(pretrained: ItemVectors, head: torch.Tensor) -> ItemVectors:
    """The catalogue with its vectors through the head beside them. `head` is of shape (d, d)."""
    return replace(pretrained, tuned=F.normalize(pretrained.text @ head, dim=-1))


def _learn(
    fit: FitContext, text: torch.Tensor, sequences: list[TrainingSequence], settings: EncoderSettings
) -> Iterator[tuple[float, torch.Tensor]]:
    """Take steps of Adam; yields the loss of each, and the head as it is then, on the CPU.

    It starts at the identity, that is at what the encoder can.
    Source: van den Oord et al. 2018 (InfoNCE), with negatives drawn uniformly from the whole catalogue.
    """
    text, places = text.to(fit.device), moved(Places.of(sequences), fit.device)
    known = torch.nonzero(text.any(dim=1)).flatten()
    head = torch.nn.Parameter(torch.eye(text.shape[1], device=fit.device))
    optimizer = torch.optim.Adam([head], lr=settings.rate)
    order = torch.Generator().manual_seed(fit.seed)
    for number in range(1, settings.max_steps + 1):
        rows = torch.randint(len(places.targets), (PLACES,), generator=order).to(fit.device)
        drawn = torch.randperm(len(known), generator=order)[:CANDIDATES].to(fit.device)
        loss = head_loss(text, head, places.take(rows), known[drawn], settings.temperature)
        yield descend(PART, loss, optimizer, f"step {number}"), head.detach().cpu().clone()


def head_loss(
    text: torch.Tensor, head: torch.Tensor, places: Places, candidates: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Softmax loss of what came next against the candidates, by cosine to the mean of what came before.

    Args:
        text: Of all items, padding row first. Shape (n_items + 1, d).
        candidates: Item indices; a place's own target is no negative of itself. Shape (C,).
    """
    profiles = (places.weights.unsqueeze(-1) * text[places.before]).sum(dim=1)  # (P, d)
    profiles = F.normalize(profiles @ head, dim=-1)
    own = (profiles * F.normalize(text[places.targets] @ head, dim=-1)).sum(dim=1, keepdim=True)  # (P, 1)
    others = profiles @ F.normalize(text[candidates] @ head, dim=-1).T  # (P, C)
    others = others.masked_fill(candidates == places.targets.unsqueeze(1), -torch.inf)
    logits = torch.cat([own, others], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros_like(places.targets))
