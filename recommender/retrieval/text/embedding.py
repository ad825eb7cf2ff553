"""The `vectors` component: the catalogue's texts as whitened vectors, by the encoder fine-tuned where that helps."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.settings.models import EncoderSettings, ModalitySettings
from core.storage import atomic_folder, write_json
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.fine_tuning import Choice, fine_tune_again, fine_tune_encoder
from recommender.encoders.head import fine_tune_head, fine_tune_head_again
from recommender.encoders.modality import read_modality
from recommender.encoders.weights import SETTINGS_FILE, save_weights
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.fitting.context import FitContext
from recommender.fitting.determinism import deterministic
from recommender.fitting.summary import FitSummary
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors, padded
from recommender.metrics.ranking import metric_key
from recommender.retrieval.text.ranker import TextRanker

NO_MODALITY = ModalitySettings()


def embed_catalogue(
    fit: FitContext, target: Path, encoder: EncoderSettings, modality: ModalitySettings = NO_MODALITY
) -> ItemVectors:
    """Encode and whiten every item's text, by the encoder fine-tuned where that helps: writes the `vectors` component.

    Where `fit.held` is given, an encoder that was fine-tuned there is fine-tuned for as many steps, any other is not.

    Args:
        fit: Of its training folder the catalogue is read, and to fine-tune the sequences and validation queries.
        target: The component's folder.
        modality: Vectors of another kind, which stand beside the text's.
    Raises:
        TrainingDataError: the catalogue or the modality is missing or damaged, or there is nothing to fine-tune on.
        EncoderError: the encoder cannot be loaded.
    """
    started, fit = time.monotonic(), fit.afresh()
    catalogue = Catalogue.read(fit.training, fit.seed)
    texts = catalogue.texts
    with deterministic(fit.seed, fit.threads):
        raw = TextEncoder.load(encoder, fit.progress, fit.device).encode(texts, fit.progress)
        has_text = np.array([bool(text.strip()) for text in texts])
        whitening = Whitening.fit(raw[has_text])
        rows = np.where(has_text[:, None], whitening.apply(raw), np.float32(0))
        vectors = ItemVectors.from_rows(catalogue, rows)
        choice = None if encoder.fine_tune == "none" else _fine_tune(fit, vectors, whitening, encoder)
        if choice is not None:
            vectors, whitening = choice.vectors, replace(whitening, head=choice.head)
    if modality.path is not None:
        other = read_modality(modality.path, modality.column, catalogue.ids, fit.progress)
        vectors = replace(vectors, modality=padded(other))
    with atomic_folder(target) as folder:
        vectors.save(folder)
        whitening.save(folder / WHITENING_FILE)
        write_json(folder / SETTINGS_FILE, encoder.model_dump(mode="json"))
        if choice is not None:
            _record_choice(folder, target, choice, fit, time.monotonic() - started)
    fit.progress(f"embedded {int(has_text.sum())} of {len(texts)} items in {time.monotonic() - started:.1f} s")
    return vectors


def _fine_tune(fit: FitContext, vectors: ItemVectors, whitening: Whitening, encoder: EncoderSettings) -> Choice:
    held = fit.held_summary()
    if encoder.fine_tune == "head":
        return _fine_tune_head(fit, vectors, encoder, held)
    if held is None:
        return fine_tune_encoder(fit, vectors, whitening, encoder, TextRanker)
    n_steps = held.choices["steps"]
    weights, chosen = fine_tune_again(fit, vectors, whitening, encoder, n_steps) if n_steps else (None, vectors)
    return Choice(0.0, 0.0, held.best_epoch, weights, chosen, n_steps)


def _fine_tune_head(fit: FitContext, vectors: ItemVectors, encoder: EncoderSettings, held: FitSummary | None) -> Choice:
    if held is None:
        return fine_tune_head(fit, vectors, encoder, TextRanker)
    n_steps = held.choices["steps"]
    head, chosen = fine_tune_head_again(fit, vectors, encoder, n_steps) if n_steps else (None, vectors)
    return Choice(0.0, 0.0, held.best_epoch, None, chosen, n_steps, head=head)


def _record_choice(folder: Path, target: Path, choice: Choice, fit: FitContext, seconds: float) -> None:
    """The weights that were kept, and the figures by which, where something was validated."""
    key = metric_key("ndcg", fit.k)
    metrics = {f"{key}_pretrained": choice.before, f"{key}_fine_tuned": choice.after} if choice.curve else {}
    checks = {
        "epochs": len(choice.curve),
        "best_epoch": choice.check,
        "choices": {"steps": choice.steps},
        "caps": tuple(fit.caps),
    }
    summary = FitSummary(folder=target, **checks, metrics=metrics, seconds=seconds, curve=choice.curve)
    summary.write(folder)
    if choice.weights is not None:
        save_weights(folder, choice.weights)
