"""What a causal language model expects next behind texts that grow by a token at a time."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

NOTHING = -1


class Texts(Protocol):
    """Texts that are being written side by side."""

    @property
    def scores(self) -> Tensor:
        """Of each text's next token, unnormalised. Shape (B, V)."""
        ...

    def extend(self, tokens: Tensor) -> None:
        """Put a token behind each text. Shape (B,), int64; NOTHING behind one that is done, whose scores no longer
        count.
        """
        ...


class NextToken(Protocol):
    """A language model as whoever draws words needs it. Safe to call from many threads."""

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Texts:
        """Texts that begin with these tokens, and grow by so many at most."""
        ...


class PlainNextToken:
    """Of any causal language model of transformers, as it is."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Texts:
        """Read the prompts; transformers' cache grows by itself, so `room` does not matter."""
        return _PlainTexts(self.model, *left_padded(prompts))


class _PlainTexts:
    def __init__(self, model: Any, tokens: Tensor, real: Tensor) -> None:
        self._model, self._real, self._kept = model, real.to(model.device), None
        self._takes = inspect.signature(model.forward).parameters
        self.scores = self._read(tokens, (self._real.cumsum(dim=1) - 1).clamp_min(0))

    def extend(self, tokens: Tensor) -> None:
        there = (tokens != NOTHING).to(self._real)
        self._real = torch.cat([self._real, there[:, None]], dim=1)
        # One that is done stays where it is: its next place may be one that the model does not have.
        self.scores = self._read(tokens.clamp_min(0)[:, None], self._real.sum(dim=1, keepdim=True) - 1)

    def _read(self, tokens: Tensor, places: Tensor) -> Tensor:
        inputs = {"input_ids": tokens.to(self._model.device), "attention_mask": self._real, "use_cache": True}
        # Not every model has these: some know no absolute places.
        extra = {"position_ids": places, "logits_to_keep": 1}
        inputs |= {name: value for name, value in extra.items() if name in self._takes}
        found = self._model(**inputs, past_key_values=self._kept)
        self._kept = found.past_key_values
        return found.logits[:, -1]


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Prompts side by side, and where they are real. Two of shape (B, T), int64."""
    width = max(len(prompt) for prompt in prompts)
    gaps = [width - len(prompt) for prompt in prompts]
    tokens = [[0] * gap + list(prompt) for gap, prompt in zip(gaps, prompts, strict=True)]
    return torch.tensor(tokens), torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
