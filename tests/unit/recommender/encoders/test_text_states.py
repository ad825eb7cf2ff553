"""The shortened GPT-2: it says what the whole one says, and computes less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from recommender.encoders.text_states import computes_texts_alone, text_states
from recommender.writing.batches import IGNORED, Batch, Tokens, collate, text_loss

ROWS = [Tokens([3, 4, 5, 6, 7], [8, 9, 1], 0), Tokens([10], [11, 12, 13, 14, 1], 0), Tokens([2] * 20, [15], 0)]


def model_of(n_layers: int, **options: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(3)
    options = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} | options
    config = GPT2Config(
        vocab_size=16, n_positions=64, n_embd=8, n_layer=n_layers, n_head=2, bos_token_id=1, eos_token_id=1, **options
    )
    model = GPT2LMHeadModel(config)
    # Biases start as zeros, and would hide one that is left out.
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


def whole_loss(model: Any, batch: Batch) -> torch.Tensor:
    """By the model's own forward, over all places."""
    places = (batch.real.cumsum(dim=1) - 1).clamp_min(0)
    logits = model(input_ids=batch.tokens, attention_mask=batch.real, position_ids=places, use_cache=False).logits
    logits = logits[:, -batch.targets.shape[1] - 1 : -1]
    return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum")


@pytest.mark.parametrize("n_layers", [1, 3])
def test_loss_and_gradients_are_those_of_the_whole_model(n_layers: int) -> None:
    batch, model = collate(ROWS, 1), model_of(n_layers)
    assert computes_texts_alone(model)
    found = []
    for loss in (text_loss(model, batch), whole_loss(model, batch)):
        model.zero_grad()
        loss.backward()
        found.append((loss.item(), {name: weight.grad.clone() for name, weight in model.named_parameters()}))
    (ours, gradients), (whole, expected) = found
    assert ours == pytest.approx(whole, rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_the_last_block_computes_only_what_is_predicted() -> None:
    model, shapes = model_of(2), []
    for block in model.transformer.h:
        block.mlp.register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape[:-1])))
    batch = collate(ROWS, 1)
    text_loss(model, batch)
    n_rows, width = batch.tokens.shape
    assert shapes == [(n_rows, width - 1), (batch.n_targets,)]


def test_no_place_that_is_asked_for_gives_no_state() -> None:
    batch = collate(ROWS, 1)
    asked = torch.zeros(batch.targets.shape, dtype=torch.bool)
    assert text_states(model_of(1), batch.tokens[:, :-1], batch.real[:, :-1], asked).shape == (0, 8)


def test_a_model_that_drops_while_it_trains_computes_all_itself() -> None:
    model = model_of(1, attn_pdrop=0.1)
    assert not computes_texts_alone(model.train())
    assert computes_texts_alone(model.eval())


def test_other_models_compute_all_themselves() -> None:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = GPTNeoXConfig(vocab_size=16, **sizes)
    assert not computes_texts_alone(GPTNeoXForCausalLM(config))
    assert not computes_texts_alone(model_of(1, add_cross_attention=True))
    assert not computes_texts_alone(model_of(1, reorder_and_upcast_attn=True))
