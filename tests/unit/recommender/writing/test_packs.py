"""Examples laid end to end: each once, and none sees another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recommender.encoders.adapters import Adapted, AdapterShape
from recommender.encoders.language_model import load_language_model
from recommender.fitting.context import silent
from recommender.writing.batches import Tokens, collate, text_loss
from recommender.writing.packs import pack_examples
from tests.unit.recommender.tiny_language_models import write_gpt2, write_llama

ROWS = [Tokens([3 + n, 4, 5], [6 + n, *range(7, 8 + n), 1], 0) for n in range(12)]


def packs_of(n_tokens: int, seed: int = 0) -> list[Any]:
    return pack_examples(ROWS, n_tokens, torch.Generator().manual_seed(seed))


def test_every_example_is_in_one_pack_and_packs_are_full() -> None:
    packs = packs_of(40)
    assert sorted(row for pack in packs for row in pack.rows) == list(range(len(ROWS)))
    assert max(pack.tokens.shape[1] for pack in packs) <= 40
    texts = []
    for pack in packs:
        whose = pack.example[pack.before]
        texts += [tuple(pack.targets[whose == number].tolist()) for number in range(len(pack.rows))]
    assert sorted(texts) == sorted(tuple(row.text) for row in ROWS)
    sizes = [pack.tokens.shape[1] for pack in packs]
    longest = max(len(row.prompt) + len(row.text) for row in ROWS)
    assert min(sizes[:-1]) > 40 - longest


def test_a_longer_example_has_a_pack_of_its_own() -> None:
    assert [len(pack.rows) for pack in packs_of(4)] == [1] * len(ROWS)


def test_the_seed_decides_who_shares_a_pack() -> None:
    first, again, other = (
        [pack.tokens.tolist() for pack in packs] for packs in (packs_of(40), packs_of(40), packs_of(40, 1))
    )
    assert first == again != other


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("write", [write_llama, write_gpt2])
def test_a_packed_example_sees_nothing_of_the_others(write: Any, adapted: bool, tmp_path: Path) -> None:
    model = load_language_model(str(write(tmp_path)), None, silent).model
    if adapted:
        torch.manual_seed(3)
        for weight in Adapted(model, AdapterShape.of(model, 2, 4)).trainable:
            weight.data.normal_(std=0.2)
    with torch.inference_mode():
        packed = sum(float(pack.loss(model, pack.inputs(torch.float32))) for pack in packs_of(60))
        alone = sum(float(text_loss(model, collate([row], 1))) for row in ROWS)
    assert packed == pytest.approx(alone, rel=1e-4)
