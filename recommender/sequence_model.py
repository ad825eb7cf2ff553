"""The sequence model: a causal transformer over item vectors, each a learned id plus the projected whitened text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from recommender.errors import BundleError, SettingsError
from recommender.fit import read_config
from recommender.ids import PADDING
from recommender.storage import write_json

WEIGHTS_FILE = "sequence.safetensors"
CONFIG_FILE = "sequence.json"
INITIAL_SD = 0.05
# How fast the text is learned beside the ids: rows of length 1 are made this long. At 1 training sits on a plateau for
# several epochs; at sqrt(text_width), unit variance, a small shop overfits its texts before its ids are learned.
TEXT_SCALE = 4.0


@dataclass(frozen=True)
class SequenceShape:
    """What has to be known to build the model before its weights are loaded. Names as in `SequenceSettings`."""

    n_items: int
    text_width: int
    width: int
    n_blocks: int
    n_heads: int
    max_history: int
    use_ids: bool
    use_text: bool

    def check(self) -> None:
        """Refuse what cannot be built.

        Raises:
            SettingsError: items have no vector at all, or the heads do not divide the width.
        """
        if not (self.use_ids or self.use_text):
            raise SettingsError(
                "Cannot build sequence model",
                got="use_ids=False, use_text=False",
                expected="at least one of them",
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

    def forward(self, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """Shape (B, T, D) -> (B, T, D); `allowed` (B, 1, T, T) says which place may look at which."""
        b, t, d = x.shape
        heads = self.query_key_value(self.attention_norm(x)).view(b, t, 3, self.n_heads, d // self.n_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (B, H, T, D / H) each
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, dropout_p=dropout)
        x = x + self._drop(self.attention_out(seen.transpose(1, 2).reshape(b, t, d)))
        return x + self._drop(self.feed_out(self._drop(F.gelu(self.feed_in(self.feed_norm(x))))))

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training)


class SequenceModel(nn.Module):
    """Predicts, at every place of a history, the item that comes next.

    Args:
        shape: Sizes and switches.
        text: Whitened text vectors, padding row first; not trained. Shape (n_items + 1, text_width).
        learned: True for items that occur in training sequences. Only they have an id vector: one that training never
            pulled anywhere is noise, so that an item without events is judged by its text alone. Shape (n_items + 1,).
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
        if shape.use_text:
            self.text_projection = nn.Linear(shape.text_width, shape.width, bias=False)
            # At this scale both parts of an item start equally long.
            nn.init.normal_(self.text_projection.weight, std=INITIAL_SD / TEXT_SCALE)
        self.positions = nn.Parameter(torch.randn(shape.max_history, shape.width) * INITIAL_SD)
        self.blocks = nn.ModuleList(Block(shape.width, shape.n_heads, dropout) for _ in range(shape.n_blocks))
        self.last_norm = nn.LayerNorm(shape.width)

    def item_vectors(self, items: torch.Tensor | None = None) -> torch.Tensor:
        """The vectors of items, as input and as output alike.

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
        if self.shape.use_text:
            parts.append(self.text_projection(self.text[rows]))
        return torch.stack(parts).sum(dim=0)

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        """What the model expects after every place.

        Args:
            history: Item indices, oldest first, left-padded with 0. Shape (B, T), int64, T <= max_history.
        Returns:
            Shape (B, T, width); the vectors at padding mean nothing.
        """
        real = history != PADDING  # (B, T)
        # Counted from the newest item back, so that padding moves no position.
        place = (real.flip(1).cumsum(1).flip(1) - 1).clamp(min=0)  # (B, T)
        x = self.item_vectors(history) + F.embedding(place, self.positions)
        x = F.dropout(x, self.dropout, self.training) * real.unsqueeze(-1)
        t = history.shape[1]
        causal = torch.ones(t, t, dtype=torch.bool).tril()
        # A place of padding looks at itself alone: a row of nothing but -inf would be NaN.
        allowed = (causal & real.unsqueeze(1)) | torch.eye(t, dtype=torch.bool)  # (B, T, T)
        for block in self.blocks:
            x = block(x, allowed.unsqueeze(1))
        result: torch.Tensor = self.last_norm(x)
        return result

    def save(self, folder: Path) -> None:
        """Write weights and shape into a folder that exists; the text vectors lie in their own component."""
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / WEIGHTS_FILE)
        write_json(folder / CONFIG_FILE, asdict(self.shape))


def load_sequence_model(folder: Path, text: torch.Tensor) -> SequenceModel:
    """Read what `SequenceModel.save` wrote.

    Args:
        folder: The sequence component.
        text: The text vectors that the model was trained with. Shape (n_items + 1, text_width).
    Raises:
        BundleError: a file is missing or unreadable, or the weights and the text vectors do not fit together.
    """
    config = read_config(folder / CONFIG_FILE)
    try:
        shape = SequenceShape(**config)
        tensors = load_file(folder / WEIGHTS_FILE)
        if tuple(text.shape) != (shape.n_items + 1, shape.text_width):
            raise ValueError(f"the text vectors are {tuple(text.shape)}")
        model = SequenceModel(shape, text, tensors["learned"])
        model.load_state_dict(tensors)
    except (OSError, TypeError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise BundleError(
            "Cannot load sequence model",
            got=f"folder={folder}",
            expected=f"{WEIGHTS_FILE} and {CONFIG_FILE} that belong together, but {error}",
            do="Fit it again",
        ) from error
    return model.eval()
