"""Ratings that a text must show: each word is pushed away from what the writer would say at the best rating.

Most reviews praise, and a writer that learned from them praises at one star too. What it would say of the same item to
the same user at five stars is how it talks anyway; the difference is the rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recommender.encoders.next_token import NextToken, Texts
from recommender.writing.examples import WritingRequest

PRAISE = 5.0
GUIDED_UP_TO = 3


def contrast_of(request: WritingRequest) -> WritingRequest | None:
    """The same request at five stars; None where the rating is none, or is good itself."""
    if request.rating is None or round(request.rating) > GUIDED_UP_TO:
        return None
    return replace(request, rating=PRAISE)


class Guided:
    """A language model whose scores are pushed further from those behind other prompts.

    log p + s (log p - log q), of the next token behind the prompt and behind the contrast, which are read together.

    Args:
        contrasts: As tokens, one a text; None of one that is left alone.
        strength: s.
    Source: Ho & Salimans 2022, Classifier-Free Diffusion Guidance; Sanchez et al. 2023 for language models. Theirs is
        in transformers too, which counts the places of padded prompts from the padding.
    """

    def __init__(self, inner: NextToken, contrasts: Sequence[Sequence[int] | None], strength: float) -> None:
        self._inner, self._strength = inner, strength
        self._contrasts = [contrast for contrast in contrasts if contrast is not None]
        self._pushed = [row for row, contrast in enumerate(contrasts) if contrast is not None]

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Texts:
        """Texts that begin with these tokens, one for each contrast or None."""
        inner = self._inner.begin([*prompts, *self._contrasts], room)
        return _GuidedTexts(inner, torch.tensor(self._pushed), len(prompts), self._strength)


class _GuidedTexts:
    def __init__(self, inner: Texts, pushed: Tensor, n_texts: int, strength: float) -> None:
        self._inner, self._pushed, self._n_texts, self._strength = inner, pushed, n_texts, strength

    @property
    def scores(self) -> Tensor:
        found = self._inner.scores.float().clone()
        own, other = found[self._pushed].log_softmax(dim=-1), found[self._n_texts :].log_softmax(dim=-1)
        # A word that neither would ever say stays so, and is no NaN.
        found[self._pushed] = (own + self._strength * (own - other)).masked_fill(own == -torch.inf, -torch.inf)
        return found[: self._n_texts]

    def extend(self, tokens: Tensor) -> None:
        self._inner.extend(torch.cat([tokens, tokens[self._pushed]]))
