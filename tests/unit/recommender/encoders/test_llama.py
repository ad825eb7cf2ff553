"""Llama's arithmetic in eight bits, against transformers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recommender.encoders import llama
from recommender.encoders.int8 import Int8Linear, has_int8
from recommender.encoders.llama import Int8Llama, why_not_int8
from recommender.encoders.next_token import NOTHING, PlainNextToken
from tests.unit.recommender.tiny_language_models import write_gpt2, write_llama

pytestmark = pytest.mark.skipif(not has_int8(), reason="this processor has no products of eight bits")
PROMPTS = [[5, 9, 200, 31, 7, 44], [17, 3], [8, 8, 100]]
STEPS = [[4, 90, 12], [61, 2, 33], [5, 5, 6]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(write_llama(tmp_path_factory.mktemp("llama"))).eval()


class Exact:
    """The same linear map with its own weights."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight = weight.detach().float()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return rows @ self._weight.T


def all_scores(next_token: Any, prompts: list[list[int]], steps: list[list[int]]) -> torch.Tensor:
    with torch.inference_mode():
        texts = next_token.begin(prompts, len(steps))
        found = [texts.scores.clone()]
        for tokens in steps:
            texts.extend(torch.tensor(tokens))
            found.append(texts.scores.clone())
    return torch.stack(found, dim=1)  # (B, steps + 1, V)


def test_each_step_is_that_of_the_whole_text_read_anew(model: Any) -> None:
    found = all_scores(PlainNextToken(model), PROMPTS, STEPS)
    for row, prompt in enumerate(PROMPTS):
        whole = torch.tensor([prompt + [tokens[row] for tokens in STEPS]])
        with torch.inference_mode():
            expected = model(whole).logits[0, len(prompt) - 1 :]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)


def test_but_for_the_rounding_it_is_transformers_own(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama, "Int8Linear", Exact)
    expected = all_scores(PlainNextToken(model), PROMPTS, STEPS)
    torch.testing.assert_close(all_scores(Int8Llama(model), PROMPTS, STEPS), expected, rtol=1e-4, atol=1e-4)
    alone = all_scores(Int8Llama(model), PROMPTS[1:2], [tokens[1:2] for tokens in STEPS])
    torch.testing.assert_close(alone, expected[1:2], rtol=1e-4, atol=1e-4)


def test_a_text_that_is_done_changes_nothing_of_the_others(model: Any) -> None:
    ends = [STEPS[0], [NOTHING, *STEPS[1][1:]], [NOTHING, *STEPS[2][1:]]]
    for next_token in (PlainNextToken(model), Int8Llama(model)):
        expected, found = (all_scores(next_token, PROMPTS, steps) for steps in (STEPS, ends))
        torch.testing.assert_close(found[1:], expected[1:])
        torch.testing.assert_close(found[0, :2], expected[0, :2])


@pytest.mark.parametrize(
    "prompts",
    [
        [[5, 9, 200, 31, 7, 44], [5, 9, 200, 8], [5, 9, 200, 31, 7, 90]],  # of different lengths behind what is alike
        [[5, 9, 200, 31], [5, 9, 200, 31], [5, 9, 200, 31]],
        [[5, 9, 200, 31, 6], [5, 9, 200], [5, 9, 200, 31]],  # one is the beginning of the others
    ],
)
def test_what_prompts_begin_with_alike_is_read_once(
    model: Any, monkeypatch: pytest.MonkeyPatch, prompts: list[list[int]]
) -> None:
    read: list[int] = []

    class Counted(Exact):
        def __call__(self, rows: torch.Tensor) -> torch.Tensor:
            read.append(len(rows))
            return super().__call__(rows)

    expected = all_scores(PlainNextToken(model), prompts, STEPS)
    monkeypatch.setattr(llama, "Int8Linear", Counted)
    torch.testing.assert_close(all_scores(Int8Llama(model), prompts, STEPS), expected, rtol=1e-4, atol=1e-4)
    assert read[0] == llama.shared_beginning(prompts) == min(3, min(map(len, prompts)) - 1)


def test_rounded_to_eight_bits_it_expects_nearly_the_same(model: Any) -> None:
    expected = all_scores(PlainNextToken(model), PROMPTS, STEPS).log_softmax(-1)
    found = all_scores(Int8Llama(model), PROMPTS, STEPS).log_softmax(-1)
    divergence = (expected.exp() * (expected - found)).sum(-1)
    assert float(divergence.max()) < 0.01
    assert float(divergence.max()) > 0, "it was rounded"


def test_rows_are_rounded_by_their_own_largest_value_whatever_stands_beside_them() -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 64, generator=random)
    rows = torch.randn(4, 64, generator=random) * torch.tensor([[1.0], [1000.0], [0.001], [0.0]])
    one = Int8Linear(weight)
    found, expected = one(rows), rows @ weight.T
    off = (found - expected).norm(dim=1)[:3] / expected.norm(dim=1)[:3]
    assert float(off.max()) < 0.03
    assert found[3].tolist() == [0.0] * 12
    assert torch.equal(one(rows[2:3]), found[2:3])


def test_what_is_no_number_stays_none() -> None:
    rows = torch.full((1, 8), 1.0)
    rows[0, 3] = torch.nan
    assert Int8Linear(torch.ones(2, 8))(rows).isnan().all()


def test_models_of_another_make_are_told_apart(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    assert why_not_int8(model) == ""
    other = AutoModelForCausalLM.from_pretrained(write_gpt2(tmp_path))
    assert why_not_int8(other) == "its model_type is gpt2"
    monkeypatch.setattr(model.config, "rope_parameters", {"rope_type": "dynamic", "rope_theta": 10000.0})
    assert why_not_int8(model) == "its rope_type is dynamic"
