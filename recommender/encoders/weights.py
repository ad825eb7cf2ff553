"""What fine-tuning changed of a text encoder: all its weights, or small additions to them (LoRA). Safetensors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from pydantic import ValidationError

from core.settings.models import EncoderSettings
from core.storage import file_digest, write_json
from recommender.encoders.encoder import EncoderError, TextEncoder
from recommender.encoders.origin import MadeBy, encoder_digest
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.errors import BundleError
from recommender.fitting.component import loading, read_config
from recommender.fitting.device import choose_dtype
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import read_tensors, save_tensors

SETTINGS_FILE = "encoder.json"
WEIGHTS_FILE = "encoder.safetensors"
_MADE_BY = "made_by"
_IN_MEMORY: WeakValueDictionary[str, TextEncoder] = WeakValueDictionary()
_LOADING = threading.Lock()


def trainable(model: Any, settings: EncoderSettings) -> Any:
    """The model as it is fine-tuned: itself, or frozen and with small additions to every linear layer.

    Source: Hu et al. 2021 (LoRA).
    """
    if settings.fine_tune != "lora":
        return model
    from peft import LoraConfig, get_peft_model

    rank = settings.lora_rank
    return get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, bias="none", target_modules="all-linear")
    )


def learned_weights(model: Any, settings: EncoderSettings) -> dict[str, torch.Tensor]:
    """A copy of what fine-tuning changes of a model that `trainable` gave."""
    if settings.fine_tune == "lora":
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(model)
    else:
        state = model.state_dict()
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def with_weights(model: Any, settings: EncoderSettings, weights: dict[str, torch.Tensor]) -> Any:
    """The pretrained model with what was learned in it, ready to encode; the model that is given is used up.

    Raises:
        ValueError, RuntimeError: the weights are not those of this model under these settings.
    """
    tuned = trainable(model, settings)
    if settings.fine_tune != "lora":
        tuned.load_state_dict(weights)
        return tuned
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    if get_peft_model_state_dict(tuned).keys() != weights.keys():
        raise ValueError("the additions are of other layers")
    set_peft_model_state_dict(tuned, weights)
    return tuned.merge_and_unload()


def save_weights(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write what was learned into a folder that exists."""
    save_tensors(folder / WEIGHTS_FILE, weights)


def encode_texts(vectors: Path, texts: Sequence[str], progress: Progress, device: str = "cpu") -> np.ndarray:
    """Texts as `ItemVectors.text` has those of items: by the encoder as it came, whitened; zeros where it has no words.

    Returns:
        Shape (n, D), float32.
    Raises:
        BundleError: a file is missing or damaged.
        EncoderError: the pretrained model is not at hand.
    """
    raw = original_encoder(vectors, progress, device)(texts)
    whitening = replace(Whitening.load(vectors / WHITENING_FILE), head=None)
    has_text = np.array([bool(text.strip()) for text in texts])
    rows: np.ndarray = np.where(has_text[:, None], whitening.apply(raw), np.float32(0))
    return rows


def read_encoder_settings(vectors: Path) -> EncoderSettings:
    """Of the encoder that made the vectors of a component.

    Raises:
        BundleError: the file is missing or damaged, or another version's: it has settings that this one does not know.
    """
    return _read(vectors)[0]


def read_made_by(vectors: Path) -> MadeBy | None:
    """Who made the vectors of a component; None where that was not recorded yet.

    Raises:
        BundleError: the file is missing or damaged, or another version's.
    """
    return _read(vectors)[1]


def write_encoder(folder: Path, settings: EncoderSettings, by: MadeBy) -> None:
    """Write the settings of the encoder, and who made the vectors, into a folder that exists."""
    write_json(folder / SETTINGS_FILE, {**settings.model_dump(mode="json"), _MADE_BY: by.model_dump(mode="json")})


def _read(vectors: Path) -> tuple[EncoderSettings, MadeBy | None]:
    file = vectors / SETTINGS_FILE
    tree = read_config(file)
    try:
        by = tree.pop(_MADE_BY, None) if isinstance(tree, dict) else None
        return EncoderSettings.model_validate(tree), None if by is None else MadeBy.model_validate(by)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            "Cannot load text encoder",
            got=f"{name or 'settings'}={first.get('input')!r}",
            expected=f"settings that this version knows: {first['msg']}",
            where=str(file),
            do="Another version wrote it: go back to that one, or train a new one: make run",
        ) from error


def original_encoder(vectors: Path, progress: Progress, device: str = "cpu") -> Callable[[Sequence[str]], np.ndarray]:
    """Texts to vectors by the encoder of a component before it learned from the shop; it is loaded by the first call.

    Returns:
        From texts to vectors of length 1, zeros for an empty one, shape (n, D), float32.
    Raises:
        BundleError: the settings are missing or damaged.
        EncoderError: when it is called, the pretrained model is not at hand, or has other files than made the vectors.
    """
    settings, by = _read(vectors)
    loaded: list[TextEncoder] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        if not loaded:
            if by is not None and by.digest != (now := encoder_digest(settings)):
                raise EncoderError(
                    "Cannot embed texts beside the vectors of a bundle",
                    got=f"recipe.encoder.model={settings.model}, whose files are {now}",
                    expected=f"{by.digest}, which made them",
                    where=str(vectors),
                    do="Put the files back, or train a new bundle: make run",
                )
            loaded.append(TextEncoder.load(settings, progress, device))
        return loaded[0].encode(list(texts), progress)

    return encode


def load_encoder(vectors: Path, progress: Progress, device: str = "cpu") -> TextEncoder:
    """The encoder that made the vectors of a component, fine-tuned where they are: new texts are encoded by it.

    Its vectors are to be whitened by the component's whitening.

    Args:
        vectors: The `vectors` component.
        device: Where it computes.
    Raises:
        BundleError: a file is missing or damaged, or its weights are of another model.
        EncoderError: the pretrained model is not at hand.
    """
    settings, by = _read(vectors)
    weights = vectors / WEIGHTS_FILE
    # By who made the vectors: under one name there may be other files than when an encoder in memory was loaded.
    made_by = "" if by is None else by.digest
    key = f"{device} {made_by} {file_digest(weights) if weights.exists() else ''} {settings.model_dump_json()}"
    # Nothing changes an encoder that is loaded here: bundles that are in memory together share one.
    with _LOADING:
        encoder = _IN_MEMORY.get(key)
        if encoder is None:
            encoder = _IN_MEMORY[key] = _load_encoder(vectors, settings, progress, device)
    return encoder


def _load_encoder(vectors: Path, settings: EncoderSettings, progress: Progress, device: str) -> TextEncoder:
    if not (vectors / WEIGHTS_FILE).exists():
        return TextEncoder.load(settings, progress, device)
    base = TextEncoder.load(settings.model_copy(update={"precision": "float32"}), progress, device)
    expected = f"{WEIGHTS_FILE} of {settings.model} fine-tuned by {settings.fine_tune}"
    with loading("text encoder", got=f"folder={vectors}", expected=expected, do="Fit the vectors again"):
        model = with_weights(base.model, settings, read_tensors(vectors / WEIGHTS_FILE))
    dtype, reason = choose_dtype(settings.precision, device)
    progress(f"text encoder {settings.model}, fine-tuned on the shop: {reason}")
    return TextEncoder(model, base.tokenizer, settings.max_tokens, settings.batch_size, dtype)
