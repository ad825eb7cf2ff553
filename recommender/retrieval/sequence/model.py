"""The sequence model: a transformer over item vectors, each a learned id plus the projected whitened text, with a
low-pass filter beside attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from core.errors import SettingsError
from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.fitting.heads import check_heads
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.packing import Packed, pack_rows
from recommender.retrieval.sequence.blocks import Block, low_pass_basis

WEIGHTS_FILE = "sequence.safetensors"
CONFIG_FILE = "sequence.json"
INITIAL_SD = 0.02
# Of the projection: every item reads it, so that it learns faster than an id, which has a start of its own.
TEXT_INITIAL_SD = 0.01


@dataclass(frozen=True)
class SequenceShape:
    """What has to be known to build the model before its weights are loaded. Names as in `SequenceSettings`.

    Attributes:
        text_width: Of what is known of an item beside its id: its text, its modality, or one beside the other.
    """

    n_items: int
    text_width: int
    width: int
    n_blocks: int
    n_heads: int
    max_history: int
    use_ids: bool
    use_text: bool
    use_modality: bool = False
    filter_share: float = 0.7
    filter_frequencies: int = 3

    def check(self) -> None:
        """Refuse what cannot be built.

        Raises:
            SettingsError: items have no vector at all, or the heads do not divide the width.
        """
        if not (self.use_ids or self.text_width):
            raise reads_nothing(self.use_text, self.use_modality)
        check_heads("sequence model", "sequence", self.width, self.n_heads)


def reads_nothing(use_text: bool, use_modality: bool) -> SettingsError:
    """What says that the settings leave an item without any vector."""
    return SettingsError(
        "Cannot build sequence model",
        got=f"use_ids=False, use_text={use_text}, use_modality={use_modality}",
        expected="at least one of them, and a modality where that is the one",
        do="Switch one on under recipe.sequence",
    )


class SequenceModel(nn.Module):
    """Predicts the item that comes after a history.

    Args:
        shape: Sizes and switches.
        text: Whitened vectors of the items' content, padding row first; not trained. Shape (n_items + 1, text_width).
        learned: True for items that occur in training sequences. Only they have an id vector: one that training never
            pulled anywhere is noise, so that an item without events is ranked by its text alone. Shape (n_items + 1,).
        dropout: On embeddings, attention and blocks.
        id_dropout: Share of id vectors left out in training, so that the text alone learns to carry an item.

    Source: Kang & McAuley 2018 (SASRec), with the filter of Shin et al. 2024 (BSARec), and the projected text added to
        the id.
    """

    def __init__(
        self,
        shape: SequenceShape,
        text: torch.Tensor,
        learned: torch.Tensor,
        dropout: float = 0.0,
        id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        shape.check()
        self.shape, self.dropout, self.id_dropout = shape, dropout, id_dropout
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("learned", learned, persistent=True)
        # How much the logarithm of an item's count adds to its score: not trained, but chosen by validation.
        self.register_buffer("popularity_weight", torch.zeros(()))
        self.text: torch.Tensor
        self.learned: torch.Tensor
        self.popularity_weight: torch.Tensor
        if shape.use_ids:
            self.id_vectors = nn.Parameter(torch.randn(shape.n_items + 1, shape.width) * INITIAL_SD)
        if shape.text_width:
            self.text_projection = nn.Linear(shape.text_width, shape.width, bias=False)
            nn.init.normal_(self.text_projection.weight, std=TEXT_INITIAL_SD)
        self.positions = nn.Parameter(torch.randn(shape.max_history, shape.width) * INITIAL_SD)
        self.first_norm = nn.LayerNorm(shape.width)
        basis = low_pass_basis(shape.max_history, shape.filter_frequencies)
        self.blocks = nn.ModuleList(
            Block(shape.width, shape.n_heads, dropout, shape.filter_share, basis) for _ in range(shape.n_blocks)
        )

    def item_vectors(self, items: torch.Tensor | None = None) -> torch.Tensor:
        """The vectors of items, as input and as output.

        Args:
            items: Item indices of any shape; all rows, padding first, where None.
        Returns:
            One axis more than `items`, of length `width`.
        """
        rows = torch.arange(self.shape.n_items + 1, device=self.learned.device) if items is None else items
        parts = []
        if self.shape.use_ids:
            kept = self.learned[rows]
            if self.training and self.id_dropout:
                kept = kept & (torch.rand(rows.shape, device=rows.device) >= self.id_dropout)
            parts.append(F.embedding(rows, self.id_vectors) * kept.unsqueeze(-1))
        if self.shape.text_width:
            parts.append(self.text_projection(self.text[rows]))
        return torch.stack(parts).sum(dim=0)

    def forward(self, history: Packed) -> torch.Tensor:
        """What the model expects after each history.

        Args:
            history: B histories, none longer than max_history.
        Returns:
            Shape (B, width), in the order in which the histories were given.
        """
        x = self.first_norm(self.item_vectors(history.items) + F.embedding(history.places, self.positions))
        x = F.dropout(x, self.dropout, self.training)
        newest = torch.nonzero(history.places == 0).flatten()
        for block in self.blocks[:-1]:
            x = block(x, history.groups, None)
        # Nothing reads the last block's other places.
        return history.as_given(self.blocks[-1](x, history.groups, newest))

    def expect(self, history: torch.Tensor) -> torch.Tensor:
        """What the model expects after each history.

        Args:
            history: Item indices, oldest first, left-padded with 0, no row of padding alone. Shape (B, T), int64,
                T <= max_history.
        Returns:
            Shape (B, width).
        """
        result: torch.Tensor = self(pack_rows(history))
        return result

    @property
    def members(self) -> list[SequenceModel]:
        """Itself, as of an ensemble of one."""
        return [self]

    def save(self, folder: Path) -> None:
        """Write weights and shape into a folder that exists; the text vectors lie in their own component."""
        SequenceEnsemble([self]).save(folder)


class SequenceEnsemble(nn.Module):
    """Sequence models that differ in their seed: what it scores is the mean of their scores.

    It answers as one model whose vectors are theirs side by side.

    Args:
        models: Of one shape, one at least, that have learned the same items. The first one's popularity weight counts.
    """

    def __init__(self, models: Sequence[SequenceModel]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.shape, self.learned, self.popularity_weight = (
            models[0].shape,
            models[0].learned,
            models[0].popularity_weight,
        )
        for model in models:
            model.learned = self.learned

    def item_vectors(self) -> torch.Tensor:
        """The vectors of all items, padding first. Shape (n_items + 1, n_models · width)."""
        return torch.cat([model.item_vectors() for model in self.members], dim=-1) / len(self.models)

    def expect(self, history: torch.Tensor) -> torch.Tensor:
        """As `SequenceModel.expect`. Shape (B, n_models · width)."""
        return torch.cat([model.expect(history) for model in self.members], dim=-1)

    def save(self, folder: Path) -> None:
        """Write weights and shape into a folder that exists; the text vectors lie in their own component."""
        tensors: dict[str, torch.Tensor] = {}
        for number, model in enumerate(self.members):
            tensors |= {f"{number}.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
        save_tensors(folder / WEIGHTS_FILE, tensors)
        write_json(folder / CONFIG_FILE, {**asdict(self.shape), "n_models": len(self.models)})

    @property
    def members(self) -> list[SequenceModel]:
        """Its models."""
        return cast(list[SequenceModel], list(self.models))


AnySequenceModel = SequenceModel | SequenceEnsemble


def load_sequence_model(folder: Path, vectors: ItemVectors, device: str = "cpu") -> AnySequenceModel:
    """Read what `save` wrote.

    Args:
        folder: The sequence component.
        vectors: Those that the model was trained with.
        device: Where it computes.
    Returns:
        One model, or several as one, in evaluation mode.
    Raises:
        BundleError: a file is missing or unreadable, or the weights and the text vectors do not fit together.
    """
    config = read_config(folder / CONFIG_FILE)
    expected = f"{WEIGHTS_FILE} and {CONFIG_FILE} that belong together"
    with loading("sequence model", got=f"folder={folder}", expected=expected):
        n_models = config.pop("n_models")
        shape = SequenceShape(**config)
        tensors = read_tensors(folder / WEIGHTS_FILE, *(f"{number}.learned" for number in range(n_models)))
        text = vectors.content(shape.use_text, shape.use_modality)
        if tuple(text.shape) != (shape.n_items + 1, shape.text_width):
            raise ValueError(f"the item vectors are {tuple(text.shape)}")
        models = []
        for start in (f"{number}." for number in range(n_models)):
            own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            models.append(SequenceModel(shape, text, own["learned"]))
            # The tensors of the file themselves, which processes share.
            models[-1].load_state_dict(own, assign=True)
    # An ensemble shares what its models have learned: they are where they are to be before they are one.
    for model in models:
        model.to(device)
    return models[0].eval() if n_models == 1 else SequenceEnsemble(models).eval()
