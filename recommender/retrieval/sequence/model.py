"""The sequence model: a causal transformer over item vectors, each a learned id plus the projected whitened text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from core.errors import SettingsError
from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.packing import Packed, pack_rows

WEIGHTS_FILE = "sequence.safetensors"
CONFIG_FILE = "sequence.json"
INITIAL_SD = 0.05
# How fast the text is learned beside the ids: rows of length 1 are made this long. At 1 training sits on a plateau for
# several epochs; at sqrt(text_width), unit variance, a small shop overfits its texts before its ids are learned.
TEXT_SCALE = 4.0


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

    def check(self) -> None:
        """Refuse what cannot be built.

        Raises:
            SettingsError: items have no vector at all, or the heads do not divide the width.
        """
        if not (self.use_ids or self.text_width):
            raise SettingsError(
                "Cannot build sequence model",
                got=f"use_ids=False, use_text={self.use_text}, use_modality={self.use_modality}",
                expected="at least one of them, and a modality where that is the one",
                do="Switch one on under recipe.sequence",
            )
        if self.width % self.n_heads:
            raise SettingsError(
                "Cannot build sequence model",
                got=f"width={self.width}, n_heads={self.n_heads}",
                expected="a width that the heads divide",
                do="Change one of them under recipe.sequence",
            )


class Block(nn.Module):
    """One transformer block, normalised before attention and before the feed-forward part."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, groups: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Shape (N, D) -> (N, D); `groups` as in `Packed` says which items are of one sequence."""
        heads = self.query_key_value(self.attention_norm(x))  # (N, 3 D)
        seen = torch.cat([self._attend(part, n) for part, n in _parts(heads, groups)])
        x = x + self._drop(self.attention_out(seen))
        return x + self._drop(self.feed_out(self._drop(F.gelu(self.feed_in(self.feed_norm(x))))))

    def _attend(self, heads: torch.Tensor, n: int) -> torch.Tensor:
        """Causal attention within `n` sequences of one length T, laid end to end: shape (n T, 3 D) -> (n T, D)."""
        t, d = len(heads) // n, heads.shape[1] // 3
        query, key, value = heads.view(n, t, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)  # (n, H, T, …)
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return seen.transpose(1, 2).reshape(n * t, d)

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training)


def _parts(values: torch.Tensor, groups: Sequence[tuple[int, int]]) -> Iterator[tuple[torch.Tensor, int]]:
    """The rows of each group, and how many sequences it has."""
    sizes = [n * length for n, length in groups]
    return zip(torch.split(values, sizes), (n for n, _ in groups), strict=True)


class SequenceModel(nn.Module):
    """Predicts, at every place of a history, the item that comes next.

    Args:
        shape: Sizes and switches.
        text: Whitened vectors of the items' content, padding row first; not trained. Shape (n_items + 1, text_width).
        learned: True for items that occur in training sequences. Only they have an id vector: one that training never
            pulled anywhere is noise, so that an item without events is ranked by its text alone. Shape (n_items + 1,).
        dropout: On embeddings, attention and blocks.
        id_dropout: Share of id vectors left out in training, so that the text alone learns to carry an item.

    Source: Kang & McAuley 2018 (SASRec), with the text as in SCIENCE's prototype: id + linear projection.
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
        self.register_buffer("text", text * TEXT_SCALE, persistent=False)
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
            # At this scale both parts of an item start equally long.
            nn.init.normal_(self.text_projection.weight, std=INITIAL_SD / TEXT_SCALE)
        self.positions = nn.Parameter(torch.randn(shape.max_history, shape.width) * INITIAL_SD)
        self.blocks = nn.ModuleList(Block(shape.width, shape.n_heads, dropout) for _ in range(shape.n_blocks))
        self.last_norm = nn.LayerNorm(shape.width)

    def item_vectors(self, items: torch.Tensor | None = None) -> torch.Tensor:
        """The vectors of items, as input and as output.

        Args:
            items: Item indices of any shape; all rows, padding first, where None.
        Returns:
            One axis more than `items`, of length `width`.
        """
        rows = torch.arange(self.shape.n_items + 1) if items is None else items
        parts = []
        if self.shape.use_ids:
            kept = self.learned[rows]
            if self.training and self.id_dropout:
                kept = kept & (torch.rand(rows.shape) >= self.id_dropout)
            parts.append(F.embedding(rows, self.id_vectors) * kept.unsqueeze(-1))
        if self.shape.text_width:
            parts.append(self.text_projection(self.text[rows]))
        return torch.stack(parts).sum(dim=0)

    def forward(self, history: Packed) -> torch.Tensor:
        """What the model expects after every item of every history.

        Args:
            history: N items in all, no history longer than max_history.
        Returns:
            Shape (N, width).
        """
        x = self.item_vectors(history.items) + F.embedding(history.places, self.positions)
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, history.groups)
        result: torch.Tensor = self.last_norm(x)
        return result

    def expect(self, history: torch.Tensor) -> torch.Tensor:
        """What the model expects after whole histories.

        Args:
            history: Item indices, oldest first, left-padded with 0, no row of padding alone. Shape (B, T), int64,
                T <= max_history.
        Returns:
            Shape (B, width).
        """
        packed = pack_rows(history)
        return packed.newest(self(packed))

    def save(self, folder: Path) -> None:
        """Write weights and shape into a folder that exists; the text vectors lie in their own component."""
        save_tensors(folder / WEIGHTS_FILE, self.state_dict())
        write_json(folder / CONFIG_FILE, asdict(self.shape))


def load_sequence_model(folder: Path, vectors: ItemVectors) -> SequenceModel:
    """Read what `SequenceModel.save` wrote.

    Args:
        folder: The sequence component.
        vectors: Those that the model was trained with.
    Raises:
        BundleError: a file is missing or unreadable, or the weights and the text vectors do not fit together.
    """
    config = read_config(folder / CONFIG_FILE)
    expected = f"{WEIGHTS_FILE} and {CONFIG_FILE} that belong together"
    with loading("sequence model", got=f"folder={folder}", expected=expected):
        shape = SequenceShape(**config)
        tensors = read_tensors(folder / WEIGHTS_FILE, "learned")
        text = vectors.content(shape.use_text, shape.use_modality)
        if tuple(text.shape) != (shape.n_items + 1, shape.text_width):
            raise ValueError(f"the item vectors are {tuple(text.shape)}")
        model = SequenceModel(shape, text, tensors["learned"])
        model.load_state_dict(tensors)
    return model.eval()
