"""The sequence model as it answers a few users at once: the same arithmetic in as few steps as it takes.

A request's time goes into starting operations, not into arithmetic. So weights are looked up once, and multiplied with
one another where that saves an operation; items are looked up in a table of their vectors; histories stand side by
side, padded, and not in groups of a length; and who sees whom is worked out once for all blocks.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

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
        blocks = [block for block in model.blocks if isinstance(block, Block)]
        norm, places = model.first_norm, model.shape.max_history
        with torch.inference_mode():
            self.table = model.item_vectors()  # (n_items + 1, D), padding first
            # The newest item is at the last place.
            self._positions = model.positions.flip(0).contiguous()
            later = torch.full((1, places, places), -torch.inf, device=self.table.device)
            self._causal = later.triu(1)  # (1, max_history, max_history)
            basis = _exact(blocks[0].basis)
            self._low = _as_before(basis @ basis.T, blocks[0].basis).unsqueeze(0)  # (1, max_history, max_history)
            self._width, self._norm = model.shape.width, (norm.weight, norm.bias, norm.eps)
            self._blocks = [_Block.of(block) for block in blocks]

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
        x = torch.embedding(self.table, history) + self._positions[-history.shape[1] :]
        x = torch.layer_norm(x, (self._width,), *self._norm)  # (B, T, D)
        mixing = self._mixing(history)
        for block in self._blocks[:-1]:
            x = block.step(x, x, mixing)
        return self._blocks[-1].step(x, x[:, -1:], mixing.newest)[:, 0]

    def _mixing(self, history: torch.Tensor) -> _Mixing:
        """How the places of some histories are mixed."""
        users, length = history.shape
        causal, low = self._causal[:, :length, :length], self._low[:, -length:, -length:]
        if users == 1:
            return _Mixing(causal, low)
        real = history != PADDING  # (B, T)
        if bool(real.all()):
            return _Mixing(causal, low.expand(users, -1, -1))
        mask = torch.where(real[:, None, :], causal, -torch.inf)
        mask.diagonal(dim1=1, dim2=2).zero_()  # padding sees itself, or nothing would be left to weigh
        return _Mixing(mask, low * real[:, None, :])


class _Mixing(NamedTuple):
    """How the places of histories are mixed, Q of them or all T.

    Attributes:
        mask: Added to what attention weighs each place by: 0, or -inf where it is not seen. Shape (B or 1, Q, T).
        low: What the low-pass filter makes each place of. Shape (B, Q, T).
    """

    mask: torch.Tensor
    low: torch.Tensor

    @property
    def newest(self) -> _Mixing:
        """Of the newest place alone."""
        return _Mixing(self.mask[:, -1:], self.low[:, -1:])


@dataclass(frozen=True)
class _Block:
    """The weights of one block; those of attention or of the filter are None where it has none.

    Attributes:
        width: Of what it reads and of what it makes.
        attention: What sees, then the norm. The norm's weights have the share of attention in them.
        filter: What counts of a place itself and of its low frequencies, then the norm. The norm's weights have the
            share of the filter in them.
        feed: The two maps, then the norm.
    """

    width: int
    attention: Any
    filter: Any
    feed: Any

    @classmethod
    def of(cls, block: Block) -> _Block:
        attention: Any = None
        passing: Any = None
        share = block.filter_share
        if share < 1:
            sees = _OneHead.of(block) if block.n_heads == 1 else _ManyHeads.of(block)
            attention = (sees, *_norm(block.attention_norm, 1 - share))
        if share > 0:
            # asked + low + high * (asked - low)
            high = block.high_pass.detach().square()
            passing = (1 + high, 1 - high, *_norm(block.filter_norm, share))
        feed = (*_linear(block.feed_in), *_linear(block.feed_out), *_norm(block.feed_norm))
        return cls(block.feed_in.in_features, attention, passing, feed)

    def step(self, x: torch.Tensor, asked: torch.Tensor, mixing: _Mixing) -> torch.Tensor:
        """See `Block.forward`.

        Args:
            x: All places. Shape (B, T, D).
            asked: Those that are asked for: all of them, or the newest. Shape (B, Q, D).
            mixing: Of these.
        Returns:
            Shape (B, Q, D).
        """
        width, mixed = (self.width,), None
        if self.attention is not None:
            sees, weight, bias, eps = self.attention
            mixed = torch.layer_norm(asked + sees(x, asked, mixing.mask), width, weight, bias, eps)
        if self.filter is not None:
            own, others, weight, bias, eps = self.filter
            passed = torch.addcmul(asked * own, torch.bmm(mixing.low, x), others)
            passed = torch.layer_norm(passed, width, weight, bias, eps)
            mixed = passed if mixed is None else mixed + passed
        assert mixed is not None
        w_in, b_in, w_out, b_out, weight, bias, eps = self.feed
        fed = F.linear(F.gelu(F.linear(mixed, w_in, b_in)), w_out, b_out)
        return torch.layer_norm(mixed + fed, width, weight, bias, eps)


@dataclass(frozen=True)
class _OneHead:
    """Attention with one head, whose maps are multiplied with one another: from queries to keys, and from values out.

    What keys have beside their map is the same for each of the places that a query weighs, and changes nothing.

    Attributes:
        asks: The map from what asks to what is asked for, scaled. Shapes (D, D) and (D,).
        gives: The map from what is seen to what comes of it. Shapes (D, D) and (D,).
    """

    asks: tuple[torch.Tensor, torch.Tensor]
    gives: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, block: Block) -> _OneHead:
        (w_q, b_q), (w_kv, b_kv), (w_out, b_out) = (
            tuple(map(_exact, _linear(layer))) for layer in (block.query, block.key_value, block.attention_out)
        )
        (w_k, w_v), b_v = w_kv.chunk(2), b_kv.chunk(2)[1]
        scaled = w_k.T / math.sqrt(len(w_q))
        maps = (scaled @ w_q, scaled @ b_q, w_out @ w_v, w_out @ b_v + b_out)
        w_asks, b_asks, w_gives, b_gives = (_as_before(one, block.query.weight) for one in maps)
        return cls((w_asks, b_asks), (w_gives, b_gives))

    def __call__(self, x: torch.Tensor, asked: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Shapes (B, T, D), (B, Q, D) and (B or 1, Q, T) -> (B, Q, D)."""
        weights = torch.softmax(torch.baddbmm(mask, F.linear(asked, *self.asks), x.mT), dim=-1)  # (B, Q, T)
        return F.linear(torch.bmm(weights, x), *self.gives)


@dataclass(frozen=True)
class _ManyHeads:
    """Attention with more heads, for which multiplied maps would be larger than those that they are made of.

    Attributes:
        query, key_value, out: The maps.
    """

    n_heads: int
    query: tuple[torch.Tensor, torch.Tensor]
    key_value: tuple[torch.Tensor, torch.Tensor]
    out: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, block: Block) -> _ManyHeads:
        maps = (block.query, block.key_value, block.attention_out)
        return cls(block.n_heads, *(_linear(layer) for layer in maps))

    def __call__(self, x: torch.Tensor, asked: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Shapes (B, T, D), (B, Q, D) and (B or 1, Q, T) -> (B, Q, D)."""
        users, n_asked, width = asked.shape
        query, (key, value) = F.linear(asked, *self.query), F.linear(x, *self.key_value).chunk(2, dim=-1)
        query, key, value = (
            one.view(users, -1, self.n_heads, width // self.n_heads).transpose(1, 2) for one in (query, key, value)
        )
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask.unsqueeze(1))
        return F.linear(seen.transpose(1, 2).reshape(users, n_asked, width), *self.out)


def _linear(layer: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.weight.detach(), layer.bias.detach()


def _norm(layer: torch.nn.LayerNorm, share: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The weights of a norm whose result is multiplied with a share."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    return (weight, bias, layer.eps) if share == 1 else (weight * share, bias * share, layer.eps)


def _exact(weights: torch.Tensor) -> torch.Tensor:
    """In double precision, on the processor: products of weights are rounded once."""
    return weights.detach().cpu().double()


def _as_before(weights: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return weights.to(like.device, like.dtype).contiguous()
