"""The steps a flow calls: each reads the training folder and writes one component of a bundle, atomically."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from recommender.augmentation import AS_THEY_ARE
from recommender.catalogue import Catalogue
from recommender.checkpoint import Checkpoint
from recommender.encoder import TextEncoder
from recommender.encoder_training import Choice, fine_tune_encoder
from recommender.encoder_weights import SETTINGS_FILE, save_weights
from recommender.fit import FitSummary, Progress, deterministic
from recommender.item_vectors import VECTORS_FILE, ItemVectors, padded
from recommender.judging.metrics import metric_key
from recommender.modality import read_modality
from recommender.model_settings import AugmentationSettings, EncoderSettings, ModalitySettings, SequenceSettings
from recommender.sequence_training import Epoch, train_sequence_model
from recommender.storage import atomic_folder, digest_of, file_digest, write_json
from recommender.whitening import Whitening

WHITENING_FILE = "whitening.safetensors"
NO_MODALITY = ModalitySettings()


def embed_catalogue(
    training: Path,
    target: Path,
    encoder: EncoderSettings,
    seed: int,
    progress: Progress,
    threads: int | None = None,
    k: int = 10,
    modality: ModalitySettings = NO_MODALITY,
) -> ItemVectors:
    """Encode and whiten every item's text, by the encoder fine-tuned where that helps: writes the `vectors` component.

    Args:
        training: The training folder; its catalogue is read, and to fine-tune its sequences and validation queries.
        target: The component's folder.
        seed: Orders the item indices, and what fine-tuning sees.
        threads: Torch's threads; None leaves them as they are.
        k: Length of the list by which the encoder is judged before and after fine-tuning.
        modality: Vectors of another kind, which stand beside the text's.
    Raises:
        TrainingDataError: the catalogue or the modality is missing or damaged, or there is nothing to fine-tune on.
        EncoderError: the encoder cannot be loaded.
    """
    started = time.monotonic()
    catalogue = Catalogue.read(training, seed)
    texts = catalogue.texts
    with deterministic(seed, threads):
        raw = TextEncoder.load(encoder, progress).encode(texts, progress)
        worded = np.array([bool(text.strip()) for text in texts])
        whitening = Whitening.fit(raw[worded])
        rows = np.where(worded[:, None], whitening.apply(raw), np.float32(0))
        vectors = ItemVectors.from_rows(catalogue, rows)
        choice = None
        if encoder.fine_tune != "none":
            choice = fine_tune_encoder(training, vectors, whitening, encoder, k, seed, progress)
            vectors = choice.vectors
    if modality.path is not None:
        other = read_modality(modality.path, modality.column, catalogue.ids, progress)
        vectors = replace(vectors, modality=padded(other))
    with atomic_folder(target) as folder:
        vectors.save(folder)
        whitening.save(folder / WHITENING_FILE)
        write_json(folder / SETTINGS_FILE, encoder.model_dump(mode="json"))
        if choice is not None:
            _record_choice(folder, target, choice, k, time.monotonic() - started)
    progress(f"embedded {int(worded.sum())} of {len(texts)} items in {time.monotonic() - started:.1f} s")
    return vectors


def _record_choice(folder: Path, target: Path, choice: Choice, k: int, seconds: float) -> None:
    """The weights that were kept, and the figures by which."""
    key = metric_key("ndcg", k)
    metrics = {f"{key}_pretrained": choice.before, f"{key}_fine_tuned": choice.after}
    checks = {"epochs": len(choice.curve), "best_epoch": choice.check}
    summary = FitSummary(folder=target, **checks, metrics=metrics, seconds=seconds, curve=choice.curve)
    summary.write(folder)
    if choice.weights is not None:
        save_weights(folder, choice.weights)


def fit_sequence(
    training: Path,
    vectors: Path,
    target: Path,
    settings: SequenceSettings,
    max_history: int,
    k: int,
    seed: int,
    threads: int,
    progress: Progress,
    augmentation: AugmentationSettings = AS_THEY_ARE,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> FitSummary:
    """Train the sequence model: writes the `sequence` component. A fit that was killed goes on from its checkpoint.

    Args:
        training: The training folder.
        vectors: The folder that `embed_catalogue` wrote.
        target: The component's folder.
        max_history: Entries of a history that the model sees.
        k: Length of the list by which epochs are compared.
        threads: Torch's threads; with the seed they decide every bit of the weights.
        augmentation: Of the training sequences.
        on_epoch: Told of every epoch; what it raises ends the fit.
    Raises:
        TrainingDataError: too little to train on or to choose the epoch by.
        BundleError: the vectors cannot be read.
    """
    started = time.monotonic()
    items = ItemVectors.load(vectors)
    inputs = (settings.model_dump(), augmentation.model_dump(), max_history, k, seed, threads)
    checkpoint = Checkpoint(target, *inputs, file_digest(vectors / VECTORS_FILE), _sequences_digest(training))
    with deterministic(seed, threads):
        model, epochs = train_sequence_model(
            training, items, settings, max_history, k, seed, progress, augmentation, checkpoint, on_epoch
        )
    best = max(epochs, key=lambda epoch: epoch.ndcg)
    summary = FitSummary(
        folder=target,
        epochs=len(epochs),
        best_epoch=best.number,
        metrics={metric_key("ndcg", k): best.ndcg},
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
