"""The sequence model as it answers a few users at once: the same arithmetic in as few steps as it takes.

A request's time goes into starting operations, not into arithmetic. So weights are looked up once, items are looked up
in a table of their vectors, and histories stand side by side, padded, and not in groups of a length.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from recommender.inputs.ids import PADDING
from recommender.retrieval.sequence.blocks import Block
from recommender.retrieval.sequence.model import SequenceModel

# More users at once are answered sooner by the model itself, which spends nothing on padding.
MOST_USERS = 32


class SequenceAnswers:
    """Answers with a sequence model whose weights do not change any more.

    Args:
        model: In evaluation mode.
    """

    def __init__(self, model: SequenceModel) -> None:
        with torch.inference_mode():
            self.table = model.item_vectors()  # (n_items + 1, D), padding first
            # The newest item is at the last place.
            self._positions = model.positions.flip(0).contiguous()
        norm = model.first_norm
        self._width, self._norm = model.shape.width, (norm.weight, norm.bias, norm.eps)
        self._blocks = [_Block.of(block) for block in model.blocks if isinstance(block, Block)]

    def with_table(self, table: torch.Tensor) -> SequenceAnswers:
        """The same, which looks the items' vectors up in an equal table."""
        other = copy.copy(self)
        other.table = table
        return other

    def expect(self, history: torch.Tensor) -> torch.Tensor:
        """What the model expects after each history, as `SequenceModel.expect`, but for the last digits.

        Args:
            history: Item indices, oldest first, left-padded with 0, no row of padding alone. Shape (B, T), int64.
        Returns:
            Shape (B, width).
        """
        length, (weight, bias, eps) = history.shape[1], self._norm
        x = F.embedding(history, self.table) + self._positions[-length:]
        x = F.layer_norm(x, (self._width,), weight, bias, eps)  # (B, T, D)
        real = None if len(history) == 1 else history != PADDING  # (B, T)
        if real is not None and bool(real.all()):
            real = None
        for block in self._blocks[:-1]:
            x = block.all_places(x, real)
        return self._blocks[-1].newest(x, real)


@dataclass(frozen=True)
class _Block:
    """The weights of one block; those of attention or of the filter are None where it has none."""

    n_heads: int
    filter_share: float
    attention: Any
    filter: Any
    basis: torch.Tensor
    feed: Any

    @classmethod
    def of(cls, block: Block) -> _Block:
        attention: Any = None
        passing: Any = None
        if block.filter_share < 1:
            norm = block.attention_norm
            maps = (*_linear(block.query), *_linear(block.key_value), *_linear(block.attention_out))
            attention = (*maps, norm.weight, norm.bias, norm.eps)
        if block.filter_share > 0:
            norm = block.filter_norm
            passing = (block.high_pass.detach().square(), norm.weight, norm.bias, norm.eps)
        norm = block.feed_norm
        feed = (*_linear(block.feed_in), *_linear(block.feed_out), norm.weight, norm.bias, norm.eps)
        return cls(block.n_heads, block.filter_share, attention, passing, block.basis, feed)

    def all_places(self, x: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        """One step for all places. Shapes (B, T, D) and (B, T) -> (B, T, D); `real` is None without padding."""
        mask = None
        if real is not None:
            length = x.shape[1]
            causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
            # Padding sees itself, or nothing would be left to weigh.
            mask = (causal & real[:, None, :]) | torch.eye(length, dtype=torch.bool, device=x.device)  # (B, T, T)
        return self._step(x, x, x, real, mask, is_causal=real is None)

    def newest(self, x: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        """One step for the newest place of each history. Shapes (B, T, D) and (B, T) -> (B, D)."""
        mask = None if real is None else real[:, None, :]  # (B, 1, T)
        return self._step(x, x[:, -1:], None, real, mask, is_causal=False)[:, 0]

    def _step(
        self,
        x: torch.Tensor,
        asked: torch.Tensor,
        places: torch.Tensor | None,
        real: torch.Tensor | None,
        mask: torch.Tensor | None,
        is_causal: bool,
    ) -> torch.Tensor:
        """See `Block.forward`; `places` is None where only the newest is asked for."""
        width, mixed = (x.shape[2],), None
        if self.attention is not None:
            w_q, b_q, w_kv, b_kv, w_out, b_out, weight, bias, eps = self.attention
            seen = self._attend(F.linear(asked, w_q, b_q), F.linear(x, w_kv, b_kv), mask, is_causal)
            mixed = F.layer_norm(asked + F.linear(seen, w_out, b_out), width, weight, bias, eps)
            mixed = mixed * (1 - self.filter_share)
        if self.filter is not None:
            high, weight, bias, eps = self.filter
            basis = self.basis[-x.shape[1] :]  # (T, R)
            rows = x if real is None else x * real.unsqueeze(-1)
            low = (basis if places is not None else basis[-1:]) @ (basis.T @ rows)
            passed = F.layer_norm(asked + (low + high * (asked - low)), width, weight, bias, eps) * self.filter_share
            mixed = passed if mixed is None else mixed + passed
        assert mixed is not None
        w_in, b_in, w_out, b_out, weight, bias, eps = self.feed
        fed = F.linear(F.gelu(F.linear(mixed, w_in, b_in)), w_out, b_out)
        return F.layer_norm(mixed + fed, width, weight, bias, eps)

    def _attend(
        self, query: torch.Tensor, key_value: torch.Tensor, mask: torch.Tensor | None, is_causal: bool
    ) -> torch.Tensor:
        """Shapes (B, Q, D) and (B, T, 2 · D) -> (B, Q, D)."""
        users, asked, width = query.shape
        key, value = key_value.chunk(2, dim=-1)
        if self.n_heads == 1:
            query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        else:
            query, key, value = (
                one.view(users, -1, self.n_heads, width // self.n_heads).transpose(1, 2) for one in (query, key, value)
            )
        given = None if mask is None else mask.unsqueeze(1)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=given, is_causal=is_causal)
        return seen.transpose(1, 2).reshape(users, asked, width)


def _linear(layer: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor | None]:
    return layer.weight, layer.bias
