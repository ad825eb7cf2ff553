"""Trains the sequence model: next-item softmax over the real places of the training sequences, early stopping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from recommender import schema
from recommender.augmentation import AS_THEY_ARE, Augmenter
from recommender.catalogue import read_training_table
from recommender.errors import TrainingDataError
from recommender.evaluation import judge_ranking
from recommender.fit import Progress
from recommender.ids import PADDING, IdMap
from recommender.inputs import sequence_input
from recommender.item_vectors import ItemVectors
from recommender.metrics import metric_key
from recommender.model_settings import AugmentationSettings, SequenceSettings
from recommender.queries import Queries, read_queries
from recommender.ranker import Ranker
from recommender.sequence_model import SequenceModel, SequenceShape
from recommender.user import UserState

# Enough for a steady choice of the epoch, and quick whatever the shop's size.
MAX_VALIDATION_QUERIES = 2000
# Where histories are few, popularity is hard to beat and worth leaning on; 0 leaves it out.
POPULARITY_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0)
POOL_BATCHES = 16


@dataclass(frozen=True)
class Epoch:
    """What came out of one pass over the sequences: the best NDCG of any popularity weight, and that weight."""

    number: int
    loss: float
    ndcg: float
    popularity_weight: float


def train_sequence_model(
    training: Path,
    vectors: ItemVectors,
    settings: SequenceSettings,
    max_history: int,
    k: int,
    seed: int,
    progress: Progress,
    augmentation: AugmentationSettings = AS_THEY_ARE,
) -> tuple[SequenceModel, list[Epoch]]:
    """Train until the validation NDCG has not risen for `patience` epochs; the best epoch's weights are kept.

    Runs under the caller's `fit.deterministic`, which seeds weights and dropout.

    Args:
        training: The training folder: sequences as of the cut-off, validation queries.
        k: Length of the list by which epochs are compared.
        seed: Order of the sequences, choice of negatives, and augmentation.
        augmentation: What each epoch's training sequences are changed by.
    Returns:
        The model in evaluation mode, and all epochs in order.
    Raises:
        TrainingDataError: no sequence has two known items, or no user with a history is in the validation window.
    """
    sequences = read_sequences(training, vectors.ids, max_history + 1)
    queries = _validation_queries(training, seed)
    learned = learned_items(sequences, len(vectors.ids))
    shape = SequenceShape(
        n_items=len(vectors.ids),
        text_width=vectors.text.shape[1],
        width=settings.width,
        n_blocks=settings.n_blocks,
        n_heads=settings.n_heads,
        max_history=max_history,
        use_ids=settings.use_ids,
        use_text=settings.use_text,
    )
    model = SequenceModel(shape, vectors.text, learned, settings.dropout, settings.id_dropout)
    n_weights = sum(weight.numel() for weight in model.parameters())
    progress(
        f"sequence model: {sum(len(s) - 1 for s in sequences)} next items in {len(sequences)} sequences, "
        f"{int(learned.sum())} of {len(vectors.ids)} items learned, {n_weights} weights"
    )
    return _fit(model, sequences, vectors, queries, settings, k, seed, progress, Augmenter(augmentation, seed))


def _fit(
    model: SequenceModel,
    sequences: list[torch.Tensor],
    vectors: ItemVectors,
    queries: Queries,
    settings: SequenceSettings,
    k: int,
    seed: int,
    progress: Progress,
    augmenter: Augmenter,
) -> tuple[SequenceModel, list[Epoch]]:
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98))
    candidates = torch.nonzero(model.learned).flatten()
    epochs: list[Epoch] = []
    best_epoch, best_ndcg, best_weights = 0, -1.0, model.state_dict()
    for number in range(1, settings.max_epochs + 1):
        started = time.monotonic()
        drawn = batches(augmenter.sequences(sequences), settings.batch_size, generator)
        loss = _train_epoch(model, optimizer, drawn, candidates, settings)
        ndcg, weight = choose_popularity_weight(model, vectors, queries, k)
        epochs.append(Epoch(number, loss, ndcg, weight))
        progress(
            f"epoch {number}/{settings.max_epochs}: loss {loss:.3f}, {metric_key('ndcg', k)} {ndcg:.4f} "
            f"(popularity weight {weight:g}), {time.monotonic() - started:.1f} s"
        )
        if ndcg > best_ndcg:
            best_ndcg, best_epoch = ndcg, number
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        elif number - best_epoch >= settings.patience:
            progress(f"stopped: no better epoch than {best_epoch} in {settings.patience}")
            break
    model.load_state_dict(best_weights)
    return model.eval(), epochs


def choose_popularity_weight(
    model: SequenceModel, vectors: ItemVectors, queries: Queries, k: int
) -> tuple[float, float]:
    """Set the model's popularity weight to the one with the best NDCG.

    Returns:
        That NDCG, and the weight; the smaller weight where two do equally well.
    """
    judged = []
    for weight in POPULARITY_WEIGHTS:
        model.popularity_weight.fill_(weight)
        judged.append(float(judge_ranking(Ranker(vectors, model), queries, k).per_query["ndcg"].mean()))
    best = int(np.argmax(judged))
    model.popularity_weight.fill_(POPULARITY_WEIGHTS[best])
    return judged[best], POPULARITY_WEIGHTS[best]


def _train_epoch(
    model: SequenceModel,
    optimizer: torch.optim.Optimizer,
    epoch_batches: Iterator[torch.Tensor],
    candidates: torch.Tensor,
    settings: SequenceSettings,
) -> float:
    """One pass; returns the mean loss of a next item."""
    model.train()
    total, places = 0.0, 0
    for batch in epoch_batches:
        loss, n = next_item_loss(model, batch, candidates, settings.n_negatives)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item() * n
        places += n
    return total / places


def next_item_loss(
    model: SequenceModel, batch: torch.Tensor, candidates: torch.Tensor, n_negatives: int
) -> tuple[torch.Tensor, int]:
    """Softmax loss of the next item, at real places only.

    Args:
        batch: Item indices, left-padded. Shape (B, T), int64.
        candidates: The items that the softmax runs over: those that occur in training, for an item that never does
            would only ever be pushed down. Shape (n,), int64.
        n_negatives: Drawn uniformly for the whole batch; 0, or as many as there are candidates, is the full softmax.
    Returns:
        The mean over real places, and how many those are.
    Source: Klenitskiy & Vasilev 2023, Turning Dross Into Gold Loss.
    """
    history, following = batch[:, :-1], batch[:, 1:]
    real = history != PADDING
    expected = model(history)[real]  # (N, D)
    targets = following[real]  # (N,)
    if n_negatives and n_negatives < len(candidates):
        negatives = candidates[torch.randint(len(candidates), (n_negatives,))]
        positive = (expected * model.item_vectors(targets)).sum(dim=-1, keepdim=True)  # (N, 1)
        negative = expected @ model.item_vectors(negatives).T  # (N, n_negatives)
        negative = negative.masked_fill(negatives == targets.unsqueeze(1), -torch.inf)
        logits = torch.cat([positive, negative], dim=1)
        return F.cross_entropy(logits, torch.zeros(len(targets), dtype=torch.int64)), len(targets)
    logits = expected @ model.item_vectors(candidates).T  # (N, n)
    return F.cross_entropy(logits, torch.searchsorted(candidates, targets)), len(targets)


def read_sequences(training: Path, ids: IdMap, max_length: int) -> list[torch.Tensor]:
    """The training sequences as item indices, each shape (T,), int64, 2 <= T <= max_length; shorter ones teach nothing.

    Raises:
        TrainingDataError: the table is missing or damaged, or no sequence has two known items.
    """
    histories = read_training_table(training, "sequences", [schema.HISTORY_ITEMS]).column(0).to_pylist()
    users = [UserState.from_history(history or []) for history in histories]
    rows = [sequence_input([user], ids, max_length)[0] for user in users]
    sequences = [row for row in rows if len(row) >= 2]
    if not sequences:
        raise TrainingDataError(
            "Cannot train sequence model",
            got=f"sequences with two known items=0 of {len(rows)}",
            expected="at least 1",
            where=str(training),
            do="Give more interactions per user",
        )
    return sequences


def learned_items(sequences: list[torch.Tensor], n_items: int) -> torch.Tensor:
    """True for items that occur in the sequences. Shape (n_items + 1,), bool."""
    learned = torch.zeros(n_items + 1, dtype=torch.bool)
    learned[torch.cat(sequences)] = True
    learned[PADDING] = False
    return learned


def batches(sequences: list[torch.Tensor], batch_size: int, generator: np.random.Generator) -> Iterator[torch.Tensor]:
    """Every sequence once, in random order, but such that those of a batch are about equally long.

    Yields:
        Left-padded to the batch's longest. Shape (B, T), int64.
    """
    order = generator.permutation(len(sequences))
    lengths = np.array([len(sequence) for sequence in sequences])
    pool = batch_size * POOL_BATCHES
    taken = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(lengths[members], kind="stable")]
        taken += [members[first : first + batch_size] for first in range(0, len(members), batch_size)]
    for place in generator.permutation(len(taken)):
        yield left_padded([sequences[member] for member in taken[place]])


def left_padded(sequences: list[torch.Tensor]) -> torch.Tensor:
    """Shape (B, longest), int64."""
    longest = max(len(sequence) for sequence in sequences)
    return torch.stack([F.pad(sequence, (longest - len(sequence), 0), value=PADDING) for sequence in sequences])


def _validation_queries(training: Path, seed: int) -> Queries:
    queries = read_queries(training, "validation")
    warm = np.flatnonzero(queries.is_warm)
    if not len(warm):
        raise TrainingDataError(
            "Cannot train sequence model",
            got=f"validation queries with a history=0 of {len(queries)}",
            expected="at least 1",
            where=str(training),
            do="Give more interactions, or a larger recipe.evaluation.validation_share",
        )
    if len(warm) > MAX_VALIDATION_QUERIES:
        warm = np.sort(np.random.default_rng(seed).choice(warm, MAX_VALIDATION_QUERIES, replace=False))
    return queries.take(warm)
