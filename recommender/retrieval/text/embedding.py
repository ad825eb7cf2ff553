"""The `vectors` component: the catalogue's texts as whitened vectors, by the encoder fine-tuned where that helps."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.settings.models import EncoderSettings, ModalitySettings
from core.storage import atomic_folder
from recommender.encoders.encoder import TextEncoder
from recommender.encoders.fine_tuning import Choice, fine_tune_again, fine_tune_encoder
from recommender.encoders.head import fine_tune_head, fine_tune_head_again
from recommender.encoders.modality import read_modality
from recommender.encoders.origin import MadeBy, made_by
from recommender.encoders.weights import read_encoder_settings, read_made_by, save_weights, write_encoder
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.errors import BundleError
from recommender.fitting.component import SUMMARY
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

    Where `fit.start` is given, texts that have not changed since that bundle keep their vectors, and its whitening
    stays; what is fine-tuned on the sequences is fine-tuned from the pretrained encoder all the same.
    Vectors are kept only where the encoder's files and code, its arithmetic, the libraries and the kind of device are
    those that made them.
    Where `fit.held` is given, an encoder that was fine-tuned there is fine-tuned for as many steps, any other is not;
    and where all texts are those that it encoded, their vectors stay.

    Args:
        fit: Of its training folder the catalogue is read, and to fine-tune the sequences and validation queries.
        target: The component's folder.
        modality: Vectors of another kind, which stand beside the text's.
    Raises:
        BundleError: the vectors to start from cannot be read, or another encoder made them.
        TrainingDataError: the catalogue or the modality is missing or damaged, or there is nothing to fine-tune on.
        EncoderError: the encoder cannot be loaded.
    """
    started, fit = time.monotonic(), fit.afresh()
    catalogue = Catalogue.read(fit.training, fit.seed)
    texts = catalogue.texts
    # First: a file that cannot be read is said before anything is learned.
    other = None
    if modality.path is not None:
        other = read_modality(modality.path, modality.column, catalogue.ids, fit.progress)
    with deterministic(fit.seed, fit.threads):
        has_text = np.array([bool(text.strip()) for text in texts])
        by = made_by(encoder, fit.device)
        rows, whitening = _encode(fit, catalogue, has_text, encoder, by)
        vectors = ItemVectors.from_rows(catalogue, rows)
        choice = None if encoder.fine_tune == "none" else _fine_tune(fit, vectors, whitening, encoder)
        if choice is not None:
            vectors, whitening = choice.vectors, replace(whitening, head=choice.head)
    if other is not None:
        vectors = replace(vectors, modality=padded(other))
    with atomic_folder(target) as folder:
        vectors.save(folder)
        whitening.save(folder / WHITENING_FILE)
        write_encoder(folder, encoder, by)
        if choice is not None or fit.start is not None:
            _record(folder, target, choice, fit, time.monotonic() - started)
    fit.progress(f"embedded {int(has_text.sum())} of {len(texts)} items in {time.monotonic() - started:.1f} s")
    return vectors


def is_made_by(vectors: Path, settings: EncoderSettings, device: str = "cpu") -> bool:
    """Whether the encoder as it is here and now is what made a component's vectors; False where that is not recorded.

    Raises:
        BundleError: the component cannot be read.
        EncoderError: the encoder is not at hand.
    """
    by = read_made_by(vectors)
    return by is not None and by == made_by(settings, device)


def _encode(
    fit: FitContext, catalogue: Catalogue, has_text: np.ndarray, settings: EncoderSettings, by: MadeBy
) -> tuple[np.ndarray, Whitening]:
    """The texts' whitened vectors, zeros where there are no words, and the whitening. Shape (n_items, d)."""
    if fit.start is not None:
        return _encode_new(fit, catalogue, has_text, settings, by)
    if has_text.any() and (found := _as_held(fit, catalogue, settings, by)) is not None:
        return found
    raw = TextEncoder.load(settings, fit.progress, fit.device).encode(catalogue.texts, fit.progress)
    whitening = Whitening.fit(raw[has_text])
    return np.where(has_text[:, None], whitening.apply(raw), np.float32(0)), whitening


def _as_held(
    fit: FitContext, catalogue: Catalogue, settings: EncoderSettings, by: MadeBy
) -> tuple[np.ndarray, Whitening] | None:
    """What a held fit made of these very texts, which is what the same encoder would make of them again; None where
    nothing is held, a text or the encoder is another one, or it took its whitening from a bundle that it started from.
    """
    if fit.held is None:
        return None
    try:
        if read_encoder_settings(fit.held) != settings or read_made_by(fit.held) != by:
            return None
    except BundleError as error:
        fit.progress(f"all texts are encoded: of those that were encoded it cannot be told by whom. {error}")
        return None
    if (fit.held / SUMMARY).exists() and FitSummary.read(fit.held).work is not None:
        return None
    before, whitening = _before(fit.held)
    if before.catalogue.texts != catalogue.texts:
        return None
    fit.progress(f"{len(catalogue.texts)} texts are those of the bundle that was judged, and keep their vectors")
    return before.text[1:].numpy(), whitening


def _encode_new(
    fit: FitContext, catalogue: Catalogue, has_text: np.ndarray, settings: EncoderSettings, by: MadeBy
) -> tuple[np.ndarray, Whitening]:
    """The same where the fit starts from the weights of a bundle: texts that it has keep their vectors, and its
    whitening stays, as those weights read vectors that are whitened so.
    """
    assert fit.start is not None
    vectors = fit.start.bundle / "vectors"
    if (was := read_made_by(vectors)) != by:
        raise BundleError(
            "Cannot start from vectors",
            got=f"made by {'an encoder that is not recorded' if was is None else _said(was, by)}",
            expected=_said(by, was),
            where=str(vectors),
            do="Fit from nothing: recipe.warm_start.enabled=false",
        )
    before, whitening = _before(vectors)
    rows = dict(zip(before.catalogue.texts, before.text[1:].numpy(), strict=True))
    new = [text for text in dict.fromkeys(catalogue.texts) if text.strip() and text not in rows]
    fit.work("texts", new=len(new), replayed=0, full=int(has_text.sum()))
    if new:
        raw = TextEncoder.load(settings, fit.progress, fit.device).encode(new, fit.progress)
        rows |= dict(zip(new, whitening.apply(raw), strict=True))
    nothing = np.zeros(whitening.projection.shape[1], dtype=np.float32)
    taken = [rows[text] if has else nothing for text, has in zip(catalogue.texts, has_text, strict=True)]
    return np.stack(taken), whitening


def _said(by: MadeBy, beside: MadeBy | None) -> str:
    """Who made vectors; libraries and code only where they are not those of another one."""
    said = f"{by.digest[:16]} in {by.dtype} on {by.device}"
    if beside is None or (by.libraries, by.code) == (beside.libraries, beside.code):
        return said
    libraries = ", ".join(f"{name} {version}" for name, version in by.libraries.items()) or "libraries not recorded"
    return f"{said} ({libraries}, encoder's code {by.code or 'not recorded'})"


def _before(vectors: Path) -> tuple[ItemVectors, Whitening]:
    """What a bundle has of its texts, and how they are whitened before any head."""
    return ItemVectors.load(vectors), replace(Whitening.load(vectors / WHITENING_FILE), head=None)


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


def _record(folder: Path, target: Path, choice: Choice | None, fit: FitContext, seconds: float) -> None:
    """What was fine-tuned and kept, and the figures by which, where something was validated."""
    key = metric_key("ndcg", fit.k)
    work = next(iter(fit.works), None)
    if choice is None:
        FitSummary(folder=target, epochs=0, best_epoch=0, metrics={}, seconds=seconds, work=work).write(folder)
        return
    metrics = {f"{key}_pretrained": choice.before, f"{key}_fine_tuned": choice.after} if choice.curve else {}
    checks = {
        "epochs": len(choice.curve),
        "best_epoch": choice.check,
        "choices": {"steps": choice.steps},
        "caps": tuple(fit.caps),
        "work": work,
    }
    summary = FitSummary(folder=target, **checks, metrics=metrics, seconds=seconds, curve=choice.curve)
    summary.write(folder)
    if choice.weights is not None:
        save_weights(folder, choice.weights)
