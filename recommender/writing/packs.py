"""Prompts and texts laid end to end in rows of one length, so that no arithmetic is done on padding.

A text sees its own prompt and nothing of its neighbours, and its places are counted from its own start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recommender.writing.batches import Tokens

# Longer rows spend more on attention between texts that do not see each other.
PACK_TOKENS = 512


@dataclass(frozen=True)
class Pack:
    """Some examples end to end.

    Attributes:
        tokens: Prompt, text, prompt, text, … Shape (1, T), int64.
        positions: Within the example. Shape (1, T), int64.
        example: Which example a token is of, from 0. Shape (T,), int64.
        before: Places whose next token is one of a text. Shape (n,), int64.
        targets: Those tokens. Shape (n,), int64.
        rows: Which of the given examples it holds.
    """

    tokens: Tensor
    positions: Tensor
    example: Tensor
    before: Tensor
    targets: Tensor
    rows: tuple[int, ...]

    def inputs(self, dtype: torch.dtype) -> dict[str, Any]:
        """What a model is given.

        Args:
            dtype: Of the model, which the mask has to have too.
        """
        place = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        sees = (self.example[:, None] == self.example) & (place[:, None] >= place)  # (T, T)
        hidden = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
        hidden.masked_fill_(~sees, torch.finfo(dtype).min)
        return {
            "input_ids": self.tokens,
            "position_ids": self.positions,
            "attention_mask": hidden[None, None],
            "use_cache": False,
        }

    def loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Sum of the cross-entropies of the texts' tokens. Shape ()."""
        logits = model(**inputs, logits_to_keep=self.before).logits[0]  # (n, V)
        return F.cross_entropy(logits.float(), self.targets, reduction="sum")


def pack_examples(rows: Sequence[Tokens], n_tokens: int, order: torch.Generator) -> list[Pack]:
    """Every example once, in random order, in packs of at most so many tokens; one that is longer has its own.

    Args:
        order: Decides which examples share a pack.
    """
    packs: list[list[int]] = [[]]
    size = 0
    for place in torch.randperm(len(rows), generator=order).tolist():
        length = len(rows[place].prompt) + len(rows[place].text)
        if packs[-1] and size + length > n_tokens:
            packs.append([])
            size = 0
        packs[-1].append(place)
        size += length
    return [_pack(rows, pack) for pack in packs if pack]


def _pack(rows: Sequence[Tokens], places: Sequence[int]) -> Pack:
    tokens: list[int] = []
    positions: list[int] = []
    example: list[int] = []
    before: list[int] = []
    for number, row in enumerate(rows[place] for place in places):
        first_of_text = len(tokens) + len(row.prompt)
        tokens += [*row.prompt, *row.text]
        positions += range(len(row.prompt) + len(row.text))
        example += [number] * (len(row.prompt) + len(row.text))
        before += range(first_of_text - 1, len(tokens) - 1)
    laid = torch.tensor(tokens)
    where = torch.tensor(before)
    return Pack(laid[None], torch.tensor(positions)[None], torch.tensor(example), where, laid[where + 1], tuple(places))
