"""What a GPT-2 makes of prompts and texts where only texts are predicted: the last block at the texts' places alone.

Of the last block's other places only keys and values are read. Of a small writer, which is one block deep and whose
prompts are longer than its texts, the rest is more than half of all products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def computes_texts_alone(model: Any) -> bool:
    """Whether `text_states` can stand for the model's own forward: a GPT-2 without dropout here and now, and without
    additions (LoRA), which are no part of the weights that it reads.
    """
    from transformers import GPT2LMHeadModel
    from transformers.pytorch_utils import Conv1D

    if type(model) is not GPT2LMHeadModel or type(model.transformer.h[-1].attn.c_attn) is not Conv1D:
        return False
    config = model.config
    drops = model.training and max(config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) > 0
    return not (drops or config.add_cross_attention or config.reorder_and_upcast_attn)


def text_states(model: Any, tokens: Tensor, real: Tensor, asked: Tensor) -> Tensor:
    """The states from which the tokens after some places are predicted, by `model.lm_head`.

    Args:
        model: One that `computes_texts_alone`.
        tokens: Shape (B, W), int64.
        real: 0 for padding, else 1. Shape (B, W), int64.
        asked: True at the places that are asked for; those of a row stand in its last columns. Shape (B, T), bool.
    Returns:
        Row by row, shape (N, D), where N is how many are asked for.
    """
    body, (n_rows, width), n_asked = model.transformer, tokens.shape, asked.shape[1]
    x = body.wte(tokens) + body.wpe((real.cumsum(dim=1) - 1).clamp_min(0))  # (B, W, D)
    places = torch.arange(width, device=tokens.device)
    # Padding reads itself: a row of the softmax has to read something.
    seen = (places <= places[:, None]) & (real[:, None] > 0) | (places == places[:, None])  # (B, W, W)
    for block in body.h[:-1]:
        x = block(x, attention_mask=seen.unsqueeze(1))
    block, last = body.h[-1], slice(width - n_asked, width)
    attention, normed, depth = block.attn, block.ln_1(x), x.shape[2]
    weight, bias = attention.c_attn.weight.T, attention.c_attn.bias  # (3 D, D)

    def by_head(values: Tensor) -> Tensor:
        return values.view(n_rows, -1, attention.num_heads, attention.head_dim).transpose(1, 2)

    query = by_head(F.linear(normed[:, last], weight[:depth], bias[:depth]))  # (B, H, T, D / H)
    key, value = F.linear(normed, weight[depth:], bias[depth:]).split(depth, dim=-1)
    mask = seen[:, None, last]  # (B, 1, T, W)
    read = F.scaled_dot_product_attention(query, by_head(key), by_head(value), mask, scale=attention.scaling)
    rows = torch.nonzero(asked.flatten()).flatten()
    read = read.transpose(1, 2).reshape(-1, depth).index_select(0, rows)  # (N, D)
    y = x[:, last].reshape(-1, depth).index_select(0, rows) + attention.c_proj(read)
    y = y + block.mlp(block.ln_2(y))
    states: Tensor = body.ln_f(y)
    return states
