"""The `sequence` component: reads the training folder, trains the sequence model, and writes it atomically."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
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
from recommender.retrieval.sequence.model import SequenceEnsemble, SequenceModel
from recommender.retrieval.sequence.training import Epoch, ValidationEvaluator, best_of, train_sequence_model
from recommender.retrieval.sequence.warm_start import check_space

# Between the seeds of models that are fitted together, so that fits of neighbouring seeds share none.
SEED_STEP = 1000


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

    Where `fit.start` is given, it starts from the sequence component of that bundle, whose text vectors are those of
    `vectors` wherever texts are equal (`embed_catalogue` with the same start).

    With `n_seeds` models, each is trained by itself, and they answer together; the curve is the first one's.

    Args:
        vectors: The folder that `embed_catalogue` wrote.
        target: The component's folder.
        max_history: Entries of a history that the model sees.
        augmentation: Of the training sequences.
        on_epoch: Called with every epoch of the first model; what it raises ends the fit.
    Raises:
        TrainingDataError: too little to train on or to choose the epoch by.
        BundleError: the vectors cannot be read.
    """
    started = time.monotonic()
    fit = fit.afresh()
    items, held = ItemVectors.load(vectors), fit.held_summary()
    digests = (file_digest(vectors / VECTORS_FILE), _sequences_digest(fit.training))
    inputs = (
        settings.model_dump(),
        augmentation.model_dump(),
        max_history,
        fit.k,
        fit.seed,
        fit.threads,
        fit.device,
        *digests,
    )
    choices = () if held is None else (held.best_epoch, held.choices)
    if fit.start is not None:
        check_space(fit.start, vectors)
    begun = () if fit.start is None else fit.start.identity
    models: list[SequenceModel] = []
    curves: list[list[Epoch]] = []
    checkpoints = [
        Checkpoint(_numbered(target, number), *inputs, *choices, *begun) for number in range(settings.n_seeds)
    ]
    for number, checkpoint in enumerate(checkpoints):
        start = None if fit.start is None else replace(fit.start, member=number)
        own = replace(fit, seed=fit.seed + number * SEED_STEP, start=start)
        told = on_epoch if number == 0 else None
        epochs_held = {} if held is None else {"max_epochs": held.choices["best_epochs"][number]}
        given = (settings.model_copy(update=epochs_held), max_history, augmentation, checkpoint, told)
        with deterministic(own.seed, fit.threads):
            model, epochs = train_sequence_model(own, items, *given)
        models.append(model)
        curves.append(epochs)
    ensemble, first = SequenceEnsemble(models), best_of(curves[0])
    ndcg = first.ndcg
    if len(models) > 1 and held is None:
        ndcg, _ = ValidationEvaluator.of(fit, items, settings, max_history).choose_popularity_weight(ensemble)
        fit.progress(f"{len(models)} models: {metric_key('ndcg', fit.k)} {ndcg:.4f}")
    weight, best_epochs = float(ensemble.popularity_weight), [best_of(epochs).number for epochs in curves]
    summary = FitSummary(
        folder=target,
        epochs=sum(epochs[-1].number for epochs in curves if epochs),
        best_epoch=first.number,
        metrics={} if ndcg is None else {metric_key("ndcg", fit.k): ndcg},
        seconds=time.monotonic() - started,
        curve=tuple(_point(epoch) for epoch in curves[0] if epoch.loss is not None),
        choices={"popularity_weight": weight, "best_epochs": best_epochs},
        caps=tuple(fit.caps),
        work=next(iter(fit.works), None),
    )
    with atomic_folder(target) as folder:
        ensemble.save(folder)
        summary.write(folder)
    for checkpoint in checkpoints:
        checkpoint.clear()
    return summary


def _numbered(target: Path, number: int) -> Path:
    """Beside which a model's checkpoint lies: the first one's beside the component itself."""
    return target if number == 0 else target.with_name(f"{target.name}.{number}")


def _point(epoch: Epoch) -> dict[str, float]:
    of_validation = {} if epoch.ndcg is None else {"ndcg": epoch.ndcg}
    return {"epoch": epoch.number, "loss": epoch.loss or 0.0, **of_validation}


def _sequences_digest(training: Path) -> str:
    return digest_of(*(file_digest(training / f"{name}.parquet") for name in ("sequences", "queries", "catalogue")))
