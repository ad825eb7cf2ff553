"""The generative model: a transformer reads the history, a small decoder gives the next item's codes one by one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.storage import write_json
from recommender.fitting.component import loading, read_config
from recommender.fitting.heads import check_heads
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.ids import PADDING
from recommender.inputs.item_vectors import ItemVectors
from recommender.retrieval.generative.trie import Levels, Trie

WEIGHTS_FILE = "generative.safetensors"
CONFIG_FILE = "generative.json"
INITIAL_SD = 0.05
# Text vectors of length 1 are made this long, as in the sequence model: texts are learned no slower than ids.
TEXT_SCALE = 4.0

Softmax = Literal["trie", "codes"]


@dataclass(frozen=True)
class GenerativeShape:
    """What has to be known to build the model before its weights are loaded. Names as in `GenerativeSettings`.

    Attributes:
        sizes: Codes of each level, the last one telling equal ids apart.
        text_width: Of what is known of an item beside its id: its text, or its text and its modality.
        beam_width: Of the search, where no longer list is asked for.
    """

    sizes: tuple[int, ...]
    text_width: int
    width: int
    n_blocks: int
    n_decoder_blocks: int
    n_heads: int
    max_history: int
    softmax: Softmax
    beam_width: int
    use_modality: bool = False

    def check(self) -> None:
        """Refuse what cannot be built.

        Raises:
            SettingsError: the heads do not divide the width.
        """
        check_heads("generative model", "generative", self.width, self.n_heads)


class GenerativeModel(nn.Module):
    """P(item | history) = product over levels of P(code | codes before it, history).

    Args:
        shape: Sizes.
        vectors: Catalogue (its counts of events) and vectors of the items' content.
        codes: Semantic ids; row i is the item of index i + 1. Shape (n_items, L), int64.
        learned: True for items that occur in training: only they have an id vector. Shape (n_items + 1,).
        dropout: On inputs and blocks.
        id_dropout: Share of id vectors left out in training, so that codes and text learn to carry an item.

    Source: Rajput et al. 2023 (TIGER). Here the history is read item by item and not code by code, which is L times
    shorter; and the softmax runs over the codes that exist after a prefix, so that the items' probabilities sum to 1.
    """

    def __init__(
        self,
        shape: GenerativeShape,
        vectors: ItemVectors,
        codes: torch.Tensor,
        learned: torch.Tensor,
        dropout: float = 0.0,
        id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        shape.check()
        self.shape, self.dropout, self.id_dropout = shape, dropout, id_dropout
        self.trie = Trie(codes.numpy(), shape.sizes)
        self.paths: torch.Tensor
        self.register_buffer("paths", self.trie.paths(), persistent=False)  # (n_items, L)
        self.register_buffer("text", vectors.content(True, shape.use_modality) * TEXT_SCALE, persistent=False)
        self.register_buffer("learned", learned)
        self.register_buffer("codes", codes)
        self.text: torch.Tensor
        self.learned: torch.Tensor
        self.codes: torch.Tensor
        width, n_levels = shape.width, len(shape.sizes)
        self.id_vectors = nn.Parameter(torch.randn(len(codes) + 1, width) * INITIAL_SD)
        self.text_projection = nn.Linear(shape.text_width, width, bias=False)
        nn.init.normal_(self.text_projection.weight, std=INITIAL_SD / TEXT_SCALE)
        # The codes of all levels in one table: as part of an item that was read, as written so far, and as output.
        self.code_vectors = nn.Parameter(torch.randn(sum(shape.sizes), width) * INITIAL_SD)
        self.positions = nn.Parameter(torch.randn(shape.max_history, width) * INITIAL_SD)
        self.start = nn.Parameter(torch.randn(width) * INITIAL_SD)
        self.steps = nn.Parameter(torch.randn(n_levels, width) * INITIAL_SD)
        self.history_blocks = nn.ModuleList(_block(width, shape.n_heads, dropout) for _ in range(shape.n_blocks))
        self.decoder_blocks = nn.ModuleList(_block(width, shape.n_heads, 0.0) for _ in range(shape.n_decoder_blocks))
        self.history_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        # A prefix can mean more than its codes do; one above no learned item has its codes alone.
        self.node_vectors = nn.ParameterList(nn.Parameter(torch.zeros(len(nodes), width)) for nodes in self.trie.codes)
        # How much the logarithm of the events below a prefix adds to its logit: at 1 everything starts as popularity.
        self.popularity = nn.Parameter(torch.ones(n_levels))
        self._offsets: torch.Tensor
        self.register_buffer(
            "_offsets", torch.tensor([sum(shape.sizes[:level]) for level in range(n_levels)]), persistent=False
        )
        self._log_counts = Levels([torch.log1p(total) for total in self.trie.totals(vectors.catalogue.n_events)])
        self._known = Levels([total > 0 for total in self.trie.totals(learned[1:].numpy())])

    def item_vectors(self, items: torch.Tensor) -> torch.Tensor:
        """What is read of items: codes, text, and the id where it was learned. Shape (...) -> (..., width)."""
        kept = self.learned[items]
        if self.training and self.id_dropout:
            kept = kept & (torch.rand(items.shape, device=items.device) >= self.id_dropout)
        rows = self.codes[(items - 1).clamp(min=0)] + self._offsets  # (..., L)
        codes = F.embedding(rows, self.code_vectors).sum(dim=-2)
        return codes + F.embedding(items, self.id_vectors) * kept.unsqueeze(-1) + self.text_projection(self.text[items])

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        """What the model expects at the start and after every item.

        Args:
            history: Item indices, oldest first, right-padded with 0. Shape (B, T), int64, T <= max_history.
        Returns:
            Shape (B, T + 1, width); those after padding mean nothing.
        """
        real = history != PADDING
        # Counted from the newest item back.
        place = (real.sum(dim=1, keepdim=True) - real.cumsum(dim=1)).clamp(min=0)
        items = self.item_vectors(history) + F.embedding(place, self.positions)
        x = torch.cat([self.start.expand(len(history), 1, -1), items], dim=1)
        # Padding lies behind everything real, where a causal mask alone hides it.
        return self.history_norm(_run(self.history_blocks, F.dropout(x, self.dropout, self.training)))

    def last_states(self, history: torch.Tensor) -> torch.Tensor:
        """What the model expects next. Shape (B, T) -> (B, width)."""
        return self(history)[torch.arange(len(history), device=history.device), (history != PADDING).sum(dim=1)]

    def decode(self, states: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """What comes at every level, after the codes before it.

        Args:
            states: Shape (N, width).
            codes: The first l codes. Shape (N, l), int64.
        Returns:
            For levels 0 to l. Shape (N, l + 1, width).
        """
        n_written = codes.shape[1]
        rows = codes + self._offsets[:n_written]
        x = torch.cat([states.unsqueeze(1), F.embedding(rows, self.code_vectors)], dim=1) + self.steps[: n_written + 1]
        # No dropout in here: it reads nothing but the state and the codes, and random masks would be most of its cost.
        return self.decoder_norm(_run(self.decoder_blocks, x))

    def log_probabilities(self, level: int, decoded: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        """Of every code that may follow a prefix.

        Args:
            decoded: Of `decode` at this level. Shape (N, width).
            nodes: Of the trie, where the prefixes end. Shape (N,), int64.
        Returns:
            In the order of `trie.followers`, -inf where there is none. Shape (N, most children), float32.
        """
        children = self.trie.followers(level, nodes)
        missing, children = children < 0, children.clamp(min=0)
        if self.shape.softmax == "codes":
            of_codes = self.logits(level, decoded).log_softmax(dim=-1)
            return of_codes.gather(1, self.trie.codes[level][children]).masked_fill(missing, -torch.inf)
        logits = self._node_logits(level, decoded, children)
        logits = logits + self.popularity[level] * self._log_counts[level][children]
        return logits.masked_fill(missing, -torch.inf).log_softmax(dim=-1)

    def is_choice(self, level: int, nodes: torch.Tensor) -> torch.Tensor:
        """Whether the softmax after these prefixes runs over more than one code. Shape (N,) -> (N,), bool."""
        if self.shape.softmax == "codes":
            return torch.ones_like(nodes, dtype=torch.bool)
        return self.trie.n_children(level, nodes) > 1

    def logits(self, level: int, decoded: torch.Tensor) -> torch.Tensor:
        """Of every code of a level, whether it may follow or not. Shape (N, width) -> (N, size of the level)."""
        offset = sum(self.shape.sizes[:level])
        return decoded @ self.code_vectors[offset : offset + self.shape.sizes[level]].T

    def _node_logits(self, level: int, decoded: torch.Tensor, children: torch.Tensor) -> torch.Tensor:
        """Shapes (N, width) and (N, M) -> (N, M)."""
        if level == 0:
            return decoded @ self._vectors_of(level, children[0]).T
        n_nodes = len(self.trie.codes[level])
        if children.numel() < n_nodes:
            vectors = self._vectors_of(level, children)
        else:
            vectors = F.embedding(children, self._vectors_of(level, torch.arange(n_nodes, device=children.device)))
        return (vectors @ decoded.unsqueeze(2)).squeeze(2)

    def _vectors_of(self, level: int, nodes: torch.Tensor) -> torch.Tensor:
        """As outputs: the code's vector plus the prefix's own. Shape (...) -> (..., width)."""
        codes = F.embedding(self.trie.codes[level][nodes] + sum(self.shape.sizes[:level]), self.code_vectors)
        return codes + F.embedding(nodes, self.node_vectors[level]) * self._known[level][nodes].unsqueeze(-1)

    def save(self, folder: Path) -> None:
        """Write weights, semantic ids and shape into a folder that exists."""
        save_tensors(folder / WEIGHTS_FILE, self.state_dict())
        write_json(folder / CONFIG_FILE, asdict(self.shape))


def load_generative_model(folder: Path, vectors: ItemVectors, device: str = "cpu") -> GenerativeModel:
    """Read what `GenerativeModel.save` wrote.

    Args:
        folder: The generative component.
        vectors: Those that the model was trained with.
        device: Where it computes.
    Raises:
        BundleError: a file is missing or unreadable, or the weights and the item vectors do not fit together.
    """
    config = read_config(folder / CONFIG_FILE)
    expected = f"{WEIGHTS_FILE} and {CONFIG_FILE} that belong together"
    with loading("generative model", got=f"folder={folder}", expected=expected):
        shape = GenerativeShape(**{**config, "sizes": tuple(config["sizes"])})
        tensors = read_tensors(folder / WEIGHTS_FILE, "codes", "learned")
        content = vectors.content(True, shape.use_modality)
        if len(tensors["codes"]) != len(vectors.ids) or shape.text_width != content.shape[1]:
            raise ValueError(f"the item vectors are {tuple(content.shape)}")
        model = GenerativeModel(shape, vectors, tensors["codes"], tensors["learned"])
        model.load_state_dict(tensors)
    return model.to(device).eval()


def right_padded(histories: list[list[int]], max_history: int) -> torch.Tensor:
    """The newest items of each history. Shape (B, T), int64, T the longest of them, 0 behind shorter ones."""
    newest = [history[-max_history:] for history in histories]
    longest = max((len(history) for history in newest), default=0)
    rows = np.full((len(newest), longest), PADDING, dtype=np.int64)
    for row, history in enumerate(newest):
        rows[row, : len(history)] = history
    return torch.from_numpy(rows)


def _run(blocks: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    """Every place reads itself and what stands before it. Shape (B, T, width) -> (B, T, width)."""
    causal = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device, dtype=x.dtype)
    for block in blocks:
        x = block(x, src_mask=causal, is_causal=True)
    return x


def _block(width: int, n_heads: int, dropout: float) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        width, n_heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
    )
