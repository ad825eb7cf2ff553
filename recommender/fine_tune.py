"""The steps a flow calls: each reads the training folder and writes one component of a bundle, atomically."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from recommender.augmentation import AS_THEY_ARE
from recommender.catalogue import Catalogue
from recommender.encoder import TextEncoder
from recommender.fit import FitSummary, Progress, deterministic
from recommender.item_vectors import ItemVectors
from recommender.metrics import metric_key
from recommender.model_settings import AugmentationSettings, EncoderSettings, SequenceSettings
from recommender.sequence_training import train_sequence_model
from recommender.storage import atomic_folder, write_json
from recommender.whitening import Whitening

WHITENING_FILE = "whitening.safetensors"
ENCODER_FILE = "encoder.json"


def embed_catalogue(
    training: Path, target: Path, encoder: EncoderSettings, seed: int, progress: Progress, threads: int | None = None
) -> ItemVectors:
    """Encode and whiten every item's text: writes the `vectors` component.

    Args:
        training: The training folder; its catalogue is read.
        target: The component's folder.
        seed: Orders the item indices.
        threads: Torch's threads; None leaves them as they are.
    Raises:
        TrainingDataError: the catalogue is missing or damaged.
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
    with atomic_folder(target) as folder:
        vectors.save(folder)
        whitening.save(folder / WHITENING_FILE)
        write_json(folder / ENCODER_FILE, encoder.model_dump(mode="json"))
    progress(f"embedded {int(worded.sum())} of {len(texts)} items in {time.monotonic() - started:.1f} s")
    return vectors


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
) -> FitSummary:
    """Train the sequence model: writes the `sequence` component.

    Args:
        training: The training folder.
        vectors: The folder that `embed_catalogue` wrote.
        target: The component's folder.
        max_history: Entries of a history that the model sees.
        k: Length of the list by which epochs are compared.
        threads: Torch's threads; with the seed they decide every bit of the weights.
        augmentation: Of the training sequences.
    Raises:
        TrainingDataError: too little to train on or to choose the epoch by.
        BundleError: the vectors cannot be read.
    """
    started = time.monotonic()
    items = ItemVectors.load(vectors)
    with deterministic(seed, threads):
        model, epochs = train_sequence_model(training, items, settings, max_history, k, seed, progress, augmentation)
    best = max(epochs, key=lambda epoch: epoch.ndcg)
    summary = FitSummary(
        folder=target,
        epochs=len(epochs),
        best_epoch=best.number,
        metrics={metric_key("ndcg", k): best.ndcg},
        seconds=time.monotonic() - started,
    )
    with atomic_folder(target) as folder:
        model.save(folder)
        summary.write(folder)
    return summary
