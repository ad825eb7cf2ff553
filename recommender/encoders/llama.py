"""Llama's arithmetic with weights of eight bits and little around it, for writing on a CPU.

transformers' own takes some fifty small operations a layer and token, which on a small model cost as much as the
products do. Here products of the same vector are one, and keys and values have their place from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recommender.encoders.int8 import Int8Linear, has_int8
from recommender.encoders.next_token import left_padded

# Kinds of positions that are the same for a text of any length.
_FIXED_PLACES = ("default", "linear", "llama3", "yarn")


def why_not_int8(model: Any) -> str:
    """Why a model cannot be computed here, as a part of a sentence; empty if it can."""
    if model.device.type != "cpu":
        return f"it computes on {model.device.type}"
    if not has_int8():
        return "this processor has no products of eight bits"
    config = model.config
    if config.model_type != "llama":
        return f"its model_type is {config.model_type}"
    if config.hidden_act != "silu" or config.attention_bias or config.mlp_bias:
        return "its layers are not those of Llama"
    kind = (config.rope_parameters or {}).get("rope_type", "default")
    return "" if kind in _FIXED_PLACES else f"its rope_type is {kind}"


@dataclass(frozen=True)
class _Layer:
    before_attention: Tensor
    attention: Int8Linear  # queries, keys and values
    attended: Int8Linear
    before_gates: Tensor
    gates: Int8Linear  # gate and what it lets through
    down: Int8Linear

    @classmethod
    def of(cls, layer: Any) -> _Layer:
        around, inside = layer.self_attn, layer.mlp
        return cls(
            layer.input_layernorm.weight.detach().float(),
            _joined(around.q_proj, around.k_proj, around.v_proj),
            _joined(around.o_proj),
            layer.post_attention_layernorm.weight.detach().float(),
            _joined(inside.gate_proj, inside.up_proj),
            _joined(inside.down_proj),
        )


class Int8Llama:
    """A Llama of transformers, its linear maps in eight bits, the rest in float32.

    Args:
        model: One that `why_not_int8` has nothing against. Later changes of its weights do not reach this.
    """

    def __init__(self, model: Any) -> None:
        config, inner = model.config, model.model
        self.n_heads, self.n_kept = config.num_attention_heads, config.num_key_value_heads
        self.width = inner.layers[0].self_attn.head_dim
        self.epsilon = float(config.rms_norm_eps)
        self.embedding = inner.embed_tokens.weight.detach()
        self.layers = [_Layer.of(layer) for layer in inner.layers]
        self.last_norm = inner.norm.weight.detach().float()
        self.head = _joined(model.lm_head)
        self._turn = inner.rotary_emb

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> _Int8Texts:
        """Read the prompts; behind them is place for so many tokens."""
        return _Int8Texts(self, *left_padded(prompts), room)

    def norm(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Rows of mean square 1, each column times its weight."""
        # In place of torch's own, which is made of twice as many steps on a CPU.
        return rows * rows.square().mean(dim=-1, keepdim=True).add_(self.epsilon).rsqrt_() * weight

    def turns(self, n_places: int) -> tuple[Tensor, Tensor]:
        """Cosine, and sine with the sign of what is added, by place. Two of shape (n_places, width)."""
        cos, sin = self._turn(self.last_norm, torch.arange(n_places)[None])
        half = self.width // 2
        return cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)


class _Int8Texts:
    """Texts in the making, with the keys and values of what stands there."""

    def __init__(self, model: Int8Llama, tokens: Tensor, real: Tensor, room: int) -> None:
        self._model = model
        rows, width = tokens.shape
        shape = (2, len(model.layers), rows, model.n_kept, width + room, model.width)
        self._keys, self._values = torch.zeros(shape).unbind()
        self._cos, self._sin = model.turns(width + room)
        self._n_there, self._places = 0, real.sum(dim=1)
        padded = bool((real == 0).any())
        # Which earlier tokens count. Shape (B, 1, 1, S); None: all of them.
        self._counts: Tensor | None = None
        if padded:
            self._counts = F.pad(real, (0, room), value=1).bool()[:, None, None]
        places = (real.cumsum(dim=1) - 1).clamp_min(0)
        seen = torch.ones(width, width, dtype=torch.bool).tril()[None, None]
        if self._counts is not None:
            # Padding sees itself: a softmax over nothing is NaN, and would spread.
            seen = (seen & self._counts[..., :width]) | torch.eye(width, dtype=torch.bool)
        self.scores = self._read(tokens, places, seen)

    def extend(self, tokens: Tensor) -> None:
        n_seen = self._n_there + 1
        seen = None if self._counts is None else self._counts[..., :n_seen]
        self.scores = self._read(tokens[:, None], self._places[:, None], seen)
        self._places = self._places + 1

    def _read(self, tokens: Tensor, places: Tensor, seen: Tensor | None) -> Tensor:
        """Scores behind the last of new tokens. Shape (B, T) to (B, V)."""
        model, (n_rows, n_new) = self._model, tokens.shape
        states = model.embedding[tokens.flatten()].float()  # (B T, D)
        cos, sin = self._cos[places][:, :, None], self._sin[places][:, :, None]  # (B, T, 1, W)
        for number, layer in enumerate(model.layers):
            made = layer.attention(model.norm(states, layer.before_attention)).view(n_rows, n_new, -1, model.width)
            attended = self._attend(number, made, (cos, sin), seen)
            states = states + layer.attended(attended.reshape(n_rows * n_new, -1))
            gate, value = layer.gates(model.norm(states, layer.before_gates)).chunk(2, dim=-1)
            states = states + layer.down(F.silu(gate) * value)
        self._n_there += n_new
        last = states.view(n_rows, n_new, -1)[:, -1]
        return model.head(model.norm(last, model.last_norm))

    def _attend(self, number: int, made: Tensor, turn: tuple[Tensor, Tensor], seen: Tensor | None) -> Tensor:
        """What the new tokens of a layer take from all that stand there. Shape (B, T, H, W)."""
        model, n_new, at = self._model, made.shape[1], self._n_there
        turned, value = made.split([model.n_heads + model.n_kept, model.n_kept], dim=2)
        turned = turned * turn[0] + turned.roll(model.width // 2, -1) * turn[1]
        query, key = turned.split([model.n_heads, model.n_kept], dim=2)
        keys, values = (kept[number, :, :, : at + n_new] for kept in (self._keys, self._values))
        keys[:, :, at:], values[:, :, at:] = key.transpose(1, 2), value.transpose(1, 2)
        if n_new > 1:
            several = F.scaled_dot_product_attention(query.transpose(1, 2), keys, values, seen, enable_gqa=True)
            return several.transpose(1, 2)
        # Heads that share keys are as rows of one: nothing is copied.
        shared = query.view(len(made), model.n_kept, -1, model.width)
        return F.scaled_dot_product_attention(shared, keys, values, seen)


def _joined(*maps: Any) -> Int8Linear:
    return Int8Linear(torch.cat([one.weight for one in maps]))
