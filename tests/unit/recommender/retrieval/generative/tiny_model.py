"""A generative model with random weights over the tiny shop's catalogue."""

from pathlib import Path
from typing import Literal

import torch

from core.settings.models import GenerativeSettings
from recommender.inputs.item_vectors import ItemVectors
from recommender.retrieval.generative.model import GenerativeModel, GenerativeShape
from recommender.retrieval.generative.semantic_ids import assign_semantic_ids
from tests.unit.recommender.tiny_shop import random_vectors, write_training_set

QUICK = GenerativeSettings(
    levels=2, codes=4, width=16, dropout=0.0, learning_rate=1e-2, batch_size=16, max_epochs=6, patience=6
)


def tiny_vectors(folder: Path) -> ItemVectors:
    return random_vectors(write_training_set(folder / "training"))


def random_model(
    vectors: ItemVectors, seed: int = 0, softmax: Literal["trie", "codes"] = "trie", levels: int = 2
) -> GenerativeModel:
    """Weights far from zero, so that the items' probabilities differ."""
    settings = GenerativeSettings(levels=levels, codes=4)
    codes, sizes = assign_semantic_ids(vectors.text[1:].numpy(), vectors.catalogue.n_events, settings, seed)
    shape = GenerativeShape(
        sizes=sizes,
        text_width=vectors.text.shape[1],
        width=16,
        n_blocks=1,
        n_decoder_blocks=1,
        n_heads=2,
        max_history=6,
        softmax=softmax,
        beam_width=8,
    )
    learned = torch.ones(len(codes) + 1, dtype=torch.bool)
    learned[[0, 3]] = False
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GenerativeModel(shape, vectors, torch.from_numpy(codes), learned)
        for weights in (model.code_vectors, model.start, *model.node_vectors):
            torch.nn.init.normal_(weights, std=0.5)
    return model.eval()


@torch.inference_mode()
def log_probabilities_of_all(model: GenerativeModel, history: torch.Tensor) -> torch.Tensor:
    """Item by item, without search: what a beam as wide as the catalogue has to find. Shape (B, n_items)."""
    states = model.last_states(history)
    columns = []
    for codes, path in zip(model.codes, model.trie.paths(), strict=True):
        decoded = model.decode(states, codes[:-1].expand(len(states), -1))
        total = torch.zeros(len(states))
        for level, node in enumerate(path.tolist()):
            before = torch.full((len(states),), int(path[level - 1]) if level else 0)
            following = model.log_probabilities(level, decoded[:, level], before)
            total += following[model.trie.followers(level, before) == node]
        columns.append(total)
    return torch.stack(columns, dim=1)
