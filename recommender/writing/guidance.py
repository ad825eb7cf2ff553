"""Ratings that a text must show: each word is pushed away from what the writer would say at the best rating.

Most reviews praise, and a writer that learned from them praises at one star too. What it would say of the same item to
the same user at five stars is how it talks anyway; the difference is the rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recommender.writing.examples import WritingRequest

PRAISE = 5.0
GUIDED_UP_TO = 3


def contrast_of(request: WritingRequest) -> WritingRequest | None:
    """The same request at five stars; None where the rating is none, or is good itself."""
    if request.rating is None or round(request.rating) > GUIDED_UP_TO:
        return None
    return replace(request, rating=PRAISE)


class Guidance:
    """Scores of a batch, further from those behind other prompts: transformers calls it with those of each step.

    log p + s (log p - log q), of the next token behind the prompt and behind the contrast.

    Args:
        tokens: The contrasts, left-padded. Shape (B, C), int64.
        real: 0 for padding, else 1. Shape (B, C), int64.
        strengths: s of each text; 0 leaves it alone. Shape (B, 1).
    Source: Ho & Salimans 2022, Classifier-Free Diffusion Guidance; Sanchez et al. 2023 for language models. Theirs is
        in transformers too, which counts the places of padded prompts from the padding.
    """

    def __init__(self, model: Any, tokens: Tensor, real: Tensor, strengths: Tensor) -> None:
        self._model, self._tokens, self._real, self._strengths = model, tokens, real, strengths
        self._kept: Any = None

    @classmethod
    def of(cls, model: Any, prompts: Sequence[Sequence[int]], strengths: Sequence[float], padding: int) -> Guidance:
        """Of contrasts as tokens, one a text; that of a text that is left alone may be any."""
        tokens, real = left_padded(prompts, padding)
        device = model.device
        return cls(model, tokens.to(device), real.to(device), torch.tensor(strengths, device=device)[:, None])

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores, pushed. Shape (B, V).

        Args:
            input_ids: Prompts and what is written. Shape (B, T), int64.
            scores: Of the next token. Shape (B, V).
        """
        if self._kept is None:
            new, places = self._tokens, (self._real.cumsum(dim=1) - 1).clamp_min(0)
        else:
            new, places = input_ids[:, -1:], self._real.sum(dim=1, keepdim=True)
            self._real = torch.cat([self._real, torch.ones_like(new)], dim=1)
        found = self._model(
            input_ids=new, attention_mask=self._real, position_ids=places, past_key_values=self._kept, use_cache=True
        )
        self._kept = found.past_key_values
        own, other = (one.float().log_softmax(dim=-1) for one in (scores, found.logits[:, -1]))
        pushed = own + self._strengths * (own - other)
        # A word that neither would ever say stays so, and is no NaN.
        return torch.where(self._strengths > 0, pushed, scores.float()).masked_fill(own == -torch.inf, -torch.inf)


def left_padded(prompts: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Prompts side by side, and where they are real. Two of shape (B, T), int64."""
    width = max(len(prompt) for prompt in prompts)
    gaps = [width - len(prompt) for prompt in prompts]
    tokens = [[padding] * gap + list(prompt) for gap, prompt in zip(gaps, prompts, strict=True)]
    return torch.tensor(tokens), torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
