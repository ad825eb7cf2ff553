"""Fits the generative model on the shop's sequences: the `generative` component."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from core.settings.models import AugmentationSettings, GenerativeSettings
from core.storage import atomic_folder
from recommender.errors import TrainingDataError
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend
from recommender.fitting.determinism import deterministic
from recommender.fitting.device import device_of, on_gpu_bfloat16
from recommender.fitting.early_stopping import EarlyStopping, weights_of
from recommender.fitting.summary import FitSummary, Progress
from recommender.inputs.augmentation import AS_THEY_ARE, Augmenter
from recommender.inputs.batching import shuffled_by_length
from recommender.inputs.ids import PADDING
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import A_SAMPLE, Queries, read_queries, sample_queries
from recommender.inputs.sequences import TrainingSequence, read_sequences
from recommender.metrics.ranking import metric_key
from recommender.metrics.ranking_evaluation import evaluate_ranker
from recommender.retrieval.generative.id_vectors import semantic_id_vectors
from recommender.retrieval.generative.model import GenerativeModel, GenerativeShape, right_padded
from recommender.retrieval.generative.ranker import GenerativeRanker
from recommender.retrieval.generative.semantic_ids import MAX_FITTED, assign_semantic_ids
from recommender.retrieval.sequence.training import learned_items

PART = "generative model"
# Enough for a steady choice of the epoch, and quick whatever the shop's size.
MAX_VALIDATION_QUERIES = 1000


def fit_generative(
    fit: FitContext,
    vectors: Path,
    target: Path,
    settings: GenerativeSettings,
    max_history: int,
    augmentation: AugmentationSettings = AS_THEY_ARE,
) -> FitSummary | None:
    """Give every item a semantic id, learn to write the next one, write the component.

    Where `fit.held` is given, learn for as many epochs as were best there; nothing is validated.

    Args:
        vectors: The `vectors` component.
        target: The component's folder, written atomically.
        max_history: Entries of a history that the model reads.
        augmentation: What each epoch's training sequences are changed by.
    Returns:
        None where the settings switch it off: nothing is written then.
    Raises:
        TrainingDataError: no sequence has two known items, or the validation window has no query.
        BundleError: the vectors cannot be read.
    """
    if not settings.enabled:
        return None
    fit = fit.afresh()
    started, held = time.monotonic(), fit.held_summary()
    if held is not None:
        settings = settings.model_copy(update={"max_epochs": held.best_epoch})
    items = ItemVectors.load(vectors)
    fitted = min(MAX_FITTED, len(items.ids))
    fit.cap("items that the semantic ids' codes are fitted on; all get one", fitted, len(items.ids), A_SAMPLE)
    with deterministic(fit.seed, fit.threads):
        sequences = read_sequences(fit.training, items.ids, max_history + 1)
        queries = None if held is not None else _validation_queries(fit)
        made_of = semantic_id_vectors(fit.training, items, vectors, settings)
        ids = assign_semantic_ids(made_of, items.catalogue.n_events, settings, fit.seed)
        model = _build(items, ids, learned_items(sequences, len(items.ids)), settings, max_history, fit.progress)
        model.to(fit.device)
        ranker = GenerativeRanker(items, model).at_least(fit.k)
        drawn = partial(Augmenter(augmentation, fit.seed).sequences, sequences)
        curve = _train(fit, model, drawn, ranker, queries, settings)
    best = max(curve, key=lambda point: point["ndcg"]) if held is None else curve[-1]
    metrics = {metric_key("ndcg", fit.k): best["ndcg"]} if held is None else {}
    summary = FitSummary(
        folder=target,
        epochs=len(curve),
        best_epoch=int(best["epoch"]),
        metrics=metrics,
        seconds=time.monotonic() - started,
        curve=tuple(curve),
        caps=tuple(fit.caps),
    )
    with atomic_folder(target) as folder:
        model.save(folder)
        summary.write(folder)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()) or "as chosen before"
    fit.progress(f"generative: kept epoch {summary.best_epoch}, {figures}, {summary.seconds:.1f} s")
    return summary


def _build(
    items: ItemVectors,
    ids: tuple[np.ndarray, tuple[int, ...]],
    learned: torch.Tensor,
    settings: GenerativeSettings,
    max_history: int,
    progress: Progress,
) -> GenerativeModel:
    content = items.content(True, settings.use_modality)
    codes, sizes = ids
    shape = GenerativeShape(
        sizes=sizes,
        text_width=content.shape[1],
        width=settings.width,
        n_blocks=settings.n_blocks,
        n_decoder_blocks=settings.n_decoder_blocks,
        n_heads=settings.n_heads,
        max_history=max_history,
        softmax=settings.softmax,
        beam_width=settings.beam_width,
        use_modality=settings.use_modality,
    )
    model = GenerativeModel(shape, items, torch.from_numpy(codes), learned, settings.dropout, settings.id_dropout)
    shared = int((codes[:, -1] > 0).sum())
    progress(
        f"generative: semantic ids of {' x '.join(str(size) for size in sizes)} codes for {len(codes)} items, "
        f"{shared} of them differ by the last one alone; {sum(weight.numel() for weight in model.parameters())} weights"
    )
    return model


def _train(
    fit: FitContext,
    model: GenerativeModel,
    drawn: Callable[[], list[TrainingSequence]],
    ranker: GenerativeRanker,
    queries: Queries | None,
    settings: GenerativeSettings,
) -> list[dict[str, float]]:
    """Train until the validation NDCG has not risen for `patience` epochs, and put the best weights back.

    Args:
        drawn: Gives the sequences of an epoch.
        queries: Of the validation window; None trains all epochs and keeps the last.
    Returns:
        Per epoch its number, loss and NDCG by beam search; the first with the best NDCG was kept.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
    generator = np.random.default_rng(fit.seed)
    curve: list[dict[str, float]] = []
    best = EarlyStopping(-math.inf, model.state_dict(), settings.patience, part=PART)
    for epoch in range(1, settings.max_epochs + 1):
        started = time.monotonic()
        loss = _train_epoch(model, drawn(), settings.batch_size, optimiser, generator, epoch)
        model.eval()
        if queries is None:
            curve.append({"epoch": epoch, "loss": loss})
            fit.progress(f"generative epoch {epoch}/{settings.max_epochs}: loss {loss:.3f}")
            continue
        ndcg = float(evaluate_ranker(ranker, queries, fit.k).per_query["ndcg"].mean())
        curve.append({"epoch": epoch, "loss": loss, "ndcg": ndcg})
        fit.progress(
            f"generative epoch {epoch}/{settings.max_epochs}: loss {loss:.3f}, {metric_key('ndcg', fit.k)} {ndcg:.4f}, "
            f"{time.monotonic() - started:.1f} s"
        )
        if best.is_beaten_by(ndcg):
            best.keep(epoch, ndcg, weights_of(model))
        if best.is_over(epoch):
            break
    if queries is not None:
        model.load_state_dict(best.state)
    model.eval()
    return curve


def _train_epoch(
    model: GenerativeModel,
    sequences: list[TrainingSequence],
    batch_size: int,
    optimiser: torch.optim.Optimizer,
    generator: np.random.Generator,
    epoch: int,
) -> float:
    """One pass; returns the mean loss of an item."""
    model.train()
    total, n_items, device = 0.0, 0, device_of(model)
    lengths = [len(sequence) for sequence in sequences]
    for rows in shuffled_by_length(lengths, batch_size, generator.permutation):
        batch = right_padded([sequences[row].items.tolist() for row in rows], max(lengths[row] for row in rows))
        contexts = torch.tensor([sequences[row].n_context for row in rows])
        with on_gpu_bfloat16(device):
            losses = next_code_losses(model, batch.to(device), contexts.to(device))
        loss = descend(PART, losses.sum(dim=1).mean(), optimiser, f"epoch {epoch}")
        total += loss * len(losses)
        n_items += len(losses)
    return total / n_items


def next_code_losses(model: GenerativeModel, batch: torch.Tensor, n_context: torch.Tensor) -> torch.Tensor:
    """Negative log probability of every code of every target, given the items before it; the first may have none.

    Args:
        batch: Item indices, oldest first, right-padded. Shape (B, T), int64.
        n_context: How many leading items of each row are no targets. Shape (B,), int64.
    Returns:
        Shape (N, L), where N is the number of targets.
    """
    real = batch != PADDING
    last = real & (real.cumsum(dim=1) == real.sum(dim=1, keepdim=True))
    wanted = real & (torch.arange(batch.shape[1], device=batch.device) >= n_context[:, None])
    # The last item is a target only, so that the newest one that is read has the place it has in answers.
    states = model(batch.masked_fill(last, PADDING)[:, :-1])[wanted]  # (N, D): what was expected before each target
    targets = batch[wanted] - 1
    codes, paths = model.codes[targets], model.paths[targets]  # (N, L)
    places = model.trie.places_among_siblings(paths)
    decoded = model.decode(states, codes[:, :-1])  # (N, L, D)
    losses = []
    for level in range(codes.shape[1]):
        before = paths[:, level - 1] if level else torch.zeros_like(targets)
        # Where one code alone may follow, its probability is 1 and there is nothing to learn.
        rows = torch.nonzero(model.is_choice(level, before)).flatten()
        following = model.log_probabilities(level, decoded[rows, level], before[rows])
        chosen = following.gather(1, places[rows, level : level + 1]).squeeze(1)
        losses.append(chosen.new_zeros(len(targets)).index_put((rows,), -chosen))
    return torch.stack(losses, dim=1)


def _validation_queries(fit: FitContext) -> Queries:
    queries = read_queries(fit.training, "validation")
    if not len(queries):
        raise TrainingDataError(
            "Cannot train generative model",
            got="validation queries=0",
            expected="at least 1",
            where=str(fit.training),
            do="Give more interactions, or a larger recipe.evaluation.validation_share",
        )
    sample = sample_queries(queries, MAX_VALIDATION_QUERIES, fit.seed)
    fit.cap("validation users that the generative model is chosen by", len(sample), len(queries), A_SAMPLE)
    return sample
