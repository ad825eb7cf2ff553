"""Llama's arithmetic with weights of eight bits and little around it, for writing on a CPU.

transformers' own takes some fifty small operations a layer and token, which on a small model cost as much as the
products do. Here products of the same vector are one, and keys and values have their place from the start.
"""

from __future__ import annotations

import itertools
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
        """Read the prompts, what they begin with alike once; behind them is place for so many tokens."""
        shared = shared_beginning(prompts)
        return _Int8Texts(self, prompts[0][:shared], [prompt[shared:] for prompt in prompts], room)

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
    """Texts in the making, with the keys and values of what stands there.

    Args:
        beginning: Tokens that all of them begin with; may be none.
        rest: What follows in each; not empty.
    """

    def __init__(self, model: Int8Llama, beginning: Sequence[int], rest: Sequence[Sequence[int]], room: int) -> None:
        self._model = model
        tokens, real = left_padded(rest)
        (rows, width), before = tokens.shape, len(beginning)
        shape = (2, len(model.layers), rows, model.n_kept, before + width + room, model.width)
        self._keys, self._values = torch.zeros(shape).unbind()
        self._cos, self._sin = model.turns(before + width + room)
        self._n_there, self._places = 0, before + real.sum(dim=1)
        if before:
            self._read(torch.tensor([beginning]), torch.arange(before)[None], _causal(before))
            for kept in (self._keys, self._values):
                kept[:, 1:, :, :before] = kept[:, :1, :, :before]
        # Which earlier tokens count. Shape (B, 1, 1, S); None: all of them.
        self._counts: Tensor | None = None
        if bool((real == 0).any()):
            self._counts = F.pad(real, (before, room), value=1).bool()[:, None, None]
        places = before + (real.cumsum(dim=1) - 1).clamp_min(0)
        seen = F.pad(_causal(width), (before, 0), value=True)
        if self._counts is not None:
            # Padding sees itself: a softmax over nothing is NaN, and would spread.
            itself = F.pad(torch.eye(width, dtype=torch.bool), (before, 0))
            seen = (seen & self._counts[..., : before + width]) | itself
        self.scores = self._score(self._read(tokens, places, seen))

    def extend(self, tokens: Tensor) -> None:
        n_seen = self._n_there + 1
        seen = None if self._counts is None else self._counts[..., :n_seen]
        self.scores = self._score(self._read(tokens.clamp_min(0)[:, None], self._places[:, None], seen))
        self._places = self._places + 1

    def _read(self, tokens: Tensor, places: Tensor, seen: Tensor | None) -> Tensor:
        """States behind the last of new tokens, of the first rows if there are fewer. Shape (B, T) to (B, D)."""
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
        return states.view(n_rows, n_new, -1)[:, -1]

    def _score(self, states: Tensor) -> Tensor:
        """Scores of the next tokens. Shape (B, D) to (B, V)."""
        return self._model.head(self._model.norm(states, self._model.last_norm))

    def _attend(self, number: int, made: Tensor, turn: tuple[Tensor, Tensor], seen: Tensor | None) -> Tensor:
        """What the new tokens of a layer take from all that stand there. Shape (B, T, H, W)."""
        model, (rows, n_new), at = self._model, made.shape[:2], self._n_there
        turned, value = made.split([model.n_heads + model.n_kept, model.n_kept], dim=2)
        turned = turned * turn[0] + turned.roll(model.width // 2, -1) * turn[1]
        query, key = turned.split([model.n_heads, model.n_kept], dim=2)
        keys, values = (kept[number, :rows, :, : at + n_new] for kept in (self._keys, self._values))
        keys[:, :, at:], values[:, :, at:] = key.transpose(1, 2), value.transpose(1, 2)
        if n_new > 1:
            several = F.scaled_dot_product_attention(query.transpose(1, 2), keys, values, seen, enable_gqa=True)
            return several.transpose(1, 2)
        # Heads that share keys are as rows of one: nothing is copied.
        shared = query.view(len(made), model.n_kept, -1, model.width)
        return F.scaled_dot_product_attention(shared, keys, values, seen)


def shared_beginning(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens prompts begin with alike; at least one of each is left.

    >>> shared_beginning([[5, 6, 7], [5, 6, 8, 9]]), shared_beginning([[5, 6], [5, 6]]), shared_beginning([[5, 6]])
    (2, 1, 0)
    """
    if len(prompts) == 1:
        return 0
    alike = itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=False))
    return min(sum(1 for _ in alike), min(map(len, prompts)) - 1)


def _causal(n_places: int) -> Tensor:
    """Which tokens each one sees: itself and those before. Shape (1, 1, T, T)."""
    return torch.ones(n_places, n_places, dtype=torch.bool).tril()[None, None]


def _joined(*maps: Any) -> Int8Linear:
    return Int8Linear(torch.cat([one.weight for one in maps]))
