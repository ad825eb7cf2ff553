"""The `sequence` component: reads the training folder, trains the sequence model, and writes it atomically."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from core.settings.models import AugmentationSettings, SequenceSettings
from core.storage import atomic_folder, digest_of, file_digest
from recommender.fitting.checkpoint import Checkpoint
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.fitting.summary import FitSummary
from recommender.inputs.augmentation import AS_THEY_ARE
from recommender.inputs.item_vectors import VECTORS_FILE, ItemVectors
from recommender.metrics.ranking import metric_key
from recommender.retrieval.sequence.training import Epoch, train_sequence_model


def fit_sequence(
    fit: FitContext,
    vectors: Path,
    target: Path,
    settings: SequenceSettings,
    max_history: int,
    augmentation: AugmentationSettings = AS_THEY_ARE,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> FitSummary:
    """Train the sequence model: writes the `sequence` component. A fit that was killed goes on from its checkpoint.

    Args:
        vectors: The folder that `embed_catalogue` wrote.
        target: The component's folder.
        max_history: Entries of a history that the model sees.
        augmentation: Of the training sequences.
        on_epoch: Called with every epoch; what it raises ends the fit.
    Raises:
        TrainingDataError: too little to train on or to choose the epoch by.
        BundleError: the vectors cannot be read.
    """
    started = time.monotonic()
    items = ItemVectors.load(vectors)
    inputs = (settings.model_dump(), augmentation.model_dump(), max_history, fit.k, fit.seed, fit.threads)
    checkpoint = Checkpoint(target, *inputs, file_digest(vectors / VECTORS_FILE), _sequences_digest(fit.training))
    with deterministic(fit.seed, fit.threads):
        model, epochs = train_sequence_model(fit, items, settings, max_history, augmentation, checkpoint, on_epoch)
    best = max(epochs, key=lambda epoch: epoch.ndcg)
    summary = FitSummary(
        folder=target,
        epochs=len(epochs),
        best_epoch=best.number,
        metrics={metric_key("ndcg", fit.k): best.ndcg},
        seconds=time.monotonic() - started,
        curve=tuple({"epoch": epoch.number, "loss": epoch.loss, "ndcg": epoch.ndcg} for epoch in epochs),
    )
    with atomic_folder(target) as folder:
        model.save(folder)
        summary.write(folder)
    checkpoint.clear()
    return summary


def _sequences_digest(training: Path) -> str:
    return digest_of(*(file_digest(training / f"{name}.parquet") for name in ("sequences", "queries", "catalogue")))
