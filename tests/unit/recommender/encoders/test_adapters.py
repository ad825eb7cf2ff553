"""Additions to the upper layers of a language model, and its frozen lower layers run apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recommender.encoders import lower_layers
from recommender.encoders.adapters import Adapted, AdapterShape, decoder_layers
from recommender.encoders.embedded_model import LanguageModelError
from recommender.encoders.language_model import load_language_model
from recommender.encoders.lower_layers import LowerLayers
from recommender.fitting.context import silent
from tests.unit.recommender.tiny_language_models import write_gpt2, write_llama

WRITERS: dict[str, Any] = {"llama": write_llama, "gpt2": write_gpt2}
TOKENS = torch.arange(3, 23).reshape(2, 10)


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return WRITERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture
def model(folder: Path) -> Any:
    return load_language_model(str(folder), None, silent).model


@pytest.fixture
def adapted(model: Any) -> Adapted:
    return Adapted(model, AdapterShape.of(model, trained_layers=2, rank=4))


def shaken(adapted: Adapted) -> Adapted:
    """With additions that change something."""
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in adapted.trainable:
            weight.normal_(std=0.2)
    return adapted


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS, use_cache=False).logits


def test_new_additions_change_nothing_and_lie_in_the_upper_layers(folder: Path, adapted: Adapted) -> None:
    fresh = load_language_model(str(folder), None, silent).model
    torch.testing.assert_close(logits(adapted.model), logits(fresh))
    layers = decoder_layers(adapted.model)
    trained = [any(weight.requires_grad for weight in layer.parameters()) for layer in layers]
    assert trained == [False] * (len(layers) - 2) + [True, True]
    inside = {id(weight) for layer in layers for weight in layer.parameters()}
    assert {id(weight) for weight in adapted.trainable} <= inside


def test_additions_are_put_into_another_copy_and_merged(folder: Path, adapted: Adapted) -> None:
    expected = logits(shaken(adapted).model)
    other = load_language_model(str(folder), None, silent).model
    assert not torch.allclose(logits(other), expected, atol=1e-3)
    copy = Adapted(other, adapted.shape)
    copy.load(adapted.weights())
    torch.testing.assert_close(logits(copy.model), expected)
    merged = copy.merged()
    torch.testing.assert_close(logits(merged), expected, rtol=1e-3, atol=1e-4)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]


def test_additions_of_another_shape_are_refused(folder: Path, adapted: Adapted) -> None:
    for layers, rank in ((1, 4), (2, 8)):
        other = Adapted(load_language_model(str(folder), None, silent).model, AdapterShape(layers, rank))
        with pytest.raises(ValueError, match="of other layers, or of another rank"):
            other.load(adapted.weights())


def test_none_and_too_many_layers_are_all(model: Any) -> None:
    n_layers = len(decoder_layers(model))
    assert AdapterShape.of(model, 0, 4).layers == AdapterShape.of(model, 99, 4).layers == n_layers


def test_a_model_without_a_list_of_layers_is_refused(model: Any) -> None:
    model.config.num_hidden_layers = 7
    with pytest.raises(LanguageModelError, match="expected a list of 7 layers"):
        decoder_layers(model)


def test_the_upper_layers_go_on_where_the_lower_ones_ended(adapted: Adapted) -> None:
    model = shaken(adapted).model
    whole, lower = logits(model), LowerLayers(model, 2)
    assert len(lower) == len(decoder_layers(model)) - 2 > 0
    states = lower._compute({"input_ids": TOKENS, "use_cache": False})
    with lower.passed(states), torch.no_grad():
        other_tokens = model(input_ids=torch.zeros_like(TOKENS), use_cache=False).logits
    assert torch.equal(other_tokens, whole), "the tokens are no longer looked at"
    assert torch.equal(logits(model), whole), "and the model is as it was"


def test_gradients_are_those_of_the_whole_model(adapted: Adapted) -> None:
    model = shaken(adapted).model
    lower = LowerLayers(model, 2)

    def gradients(compute: Callable[[], torch.Tensor]) -> list[torch.Tensor]:
        for weight in adapted.trainable:
            weight.grad = None
        compute().backward()
        return [weight.grad.clone() for weight in adapted.trainable]

    def loss() -> torch.Tensor:
        return model(input_ids=TOKENS, use_cache=False).logits.logsumexp(dim=-1).mean()

    expected = gradients(loss)
    with lower.passed(lower._compute({"input_ids": TOKENS, "use_cache": False})):
        for ours, theirs in zip(gradients(loss), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_states_are_computed_once_and_rounded(adapted: Adapted, monkeypatch: pytest.MonkeyPatch) -> None:
    lower, inputs = LowerLayers(adapted.model, 2), {"input_ids": TOKENS, "use_cache": False}
    exact, first = lower._compute(inputs), lower.states(5, inputs)
    assert torch.equal(first, exact.bfloat16().float())
    with monkeypatch.context() as patched:
        patched.setattr(lower, "_compute", None)
        assert torch.equal(lower.states(5, inputs), first)
    monkeypatch.setattr(lower_layers, "MAX_KEPT", 0)
    assert torch.equal(lower.states(6, inputs), first)
    assert 6 not in lower._kept, "beyond the bound nothing is kept, and the same comes out"
