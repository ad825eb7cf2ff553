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
from recommender.retrieval.sequence.training import Epoch, best_of, train_sequence_model


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

    Where `fit.held` is given, its number of epochs and its popularity weight are taken over, and nothing is validated.

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
    held = fit.held_summary()
    choices = () if held is None else (held.best_epoch, held.choices)
    digests = (file_digest(vectors / VECTORS_FILE), _sequences_digest(fit.training))
    checkpoint = Checkpoint(target, *inputs, *choices, *digests)
    with deterministic(fit.seed, fit.threads):
        model, epochs = train_sequence_model(fit, items, settings, max_history, augmentation, checkpoint, on_epoch)
    best = best_of(epochs)
    summary = FitSummary(
        folder=target,
        epochs=len(epochs),
        best_epoch=best.number,
        metrics={} if best.ndcg is None else {metric_key("ndcg", fit.k): best.ndcg},
        seconds=time.monotonic() - started,
        curve=tuple(_point(epoch) for epoch in epochs),
        choices={"popularity_weight": best.popularity_weight},
    )
    with atomic_folder(target) as folder:
        model.save(folder)
        summary.write(folder)
    checkpoint.clear()
    return summary


def _point(epoch: Epoch) -> dict[str, float]:
    of_validation = {} if epoch.ndcg is None else {"ndcg": epoch.ndcg}
    return {"epoch": epoch.number, "loss": epoch.loss, **of_validation}


def _sequences_digest(training: Path) -> str:
    return digest_of(*(file_digest(training / f"{name}.parquet") for name in ("sequences", "queries", "catalogue")))
