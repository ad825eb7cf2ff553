"""The items as the text encoder sees them: whitened vectors in the order of the id map. The `vectors` component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from recommender.errors import BundleError
from recommender.fitting.component import loading
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.catalogue import CATALOGUE_FILE, Catalogue
from recommender.inputs.ids import IdMap

VECTORS_FILE = "vectors.safetensors"
IDS_FILE = "ids.json"
TEXT = "text"
TUNED = "tuned"
MODALITY = "modality"
# Of a history as text: the newest item weighs 1, each earlier one this many times the next.
RECENCY = 0.9


@dataclass(frozen=True)
class ItemVectors:
    """The catalogue and one text vector per item.

    Attributes:
        text: Whitened, length 1; zeros for padding (row 0) and items without words. Shape (n_items + 1, D), float32.
        tuned: The same by the encoder fine-tuned on the shop's sequences: texts are retrieved by them. None
            where it was not fine-tuned, or where that ranks no better.
        modality: Vectors of another kind (images, say), whitened, length 1; zeros where an item has none. Shape
            (n_items + 1, M), float32; None where the shop gives none.
        versions: Of each further row of `text`, behind the catalogue's, the item that it is another text of; only
            while a model is fitted, for those who would read their own words in the catalogue's text.
    """

    catalogue: Catalogue
    text: torch.Tensor
    tuned: torch.Tensor | None = None
    modality: torch.Tensor | None = None
    versions: tuple[int, ...] = ()

    @property
    def ids(self) -> IdMap:
        return self.catalogue.ids

    @classmethod
    def from_rows(cls, catalogue: Catalogue, rows: np.ndarray) -> ItemVectors:
        """Put the padding row before the items' rows, shape (n_items, D)."""
        return cls(catalogue, padded(rows))

    def with_versions(self, items: Sequence[int], rows: np.ndarray) -> ItemVectors:
        """The same with further texts of some items, whose rows follow those that there are. `rows`: shape (n, D)."""
        text = torch.cat([self.text, torch.from_numpy(rows.astype(np.float32))])
        modality = None if self.modality is None else torch.cat([self.modality, self.modality[list(items)]])
        return replace(self, text=text, modality=modality, versions=(*self.versions, *items))

    def item_at(self, row: int) -> int:
        """The index of the item that a row of `text` describes."""
        n_rows = len(self.ids) + 1
        return row if row < n_rows else self.versions[row - n_rows]

    def profile(self, history: Sequence[int], tuned: bool = True) -> np.ndarray:
        """A history as text: the mean of its items' vectors, newer ones weighing more, of length 1. Shape (D,).

        Its cosines to `retrieval` say which texts go with it.

        Args:
            history: Item indices, oldest first.
            tuned: By `retrieval`; otherwise by the encoder that never saw the shop, as `before_fine_tuning` has it.
        """
        vectors = self.retrieval if tuned else self.text
        weights = RECENCY ** np.arange(len(history) - 1, -1, -1, dtype=np.float32)
        profile: np.ndarray = weights @ vectors.numpy()[np.array(history, dtype=np.int64)]
        return profile / max(float(np.sqrt(profile.dot(profile))), 1e-12)

    def content(self, use_text: bool, use_modality: bool) -> torch.Tensor:
        """What is known of the items without any event, one beside the other. Shape (n_items + 1, width), float32."""
        parts = [self.text] if use_text else []
        if use_modality and self.modality is not None:
            parts.append(self.modality)
        if len(parts) == 1:
            return parts[0]  # no copy: of a large catalogue that is more than everything else in memory
        return torch.cat(parts, dim=1) if parts else self.text[:, :0]

    def before_fine_tuning(self) -> ItemVectors:
        """The vectors of the encoder that never saw the shop."""
        return replace(self, tuned=None)

    @property
    def retrieval(self) -> torch.Tensor:
        """The vectors that texts are retrieved by: those of the fine-tuned encoder where there is one."""
        return self.text if self.tuned is None else self.tuned

    def save(self, folder: Path) -> None:
        """Write catalogue, ids and vectors into a folder that exists."""
        self.catalogue.save(folder / CATALOGUE_FILE)
        self.ids.save(folder / IDS_FILE)
        tensors = {TEXT: self.text}
        if self.tuned is not None:
            tensors[TUNED] = self.tuned
        if self.modality is not None:
            tensors[MODALITY] = self.modality
        save_tensors(folder / VECTORS_FILE, tensors)

    @classmethod
    def load(cls, folder: Path) -> ItemVectors:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable, or ids, catalogue and vectors do not belong together.
        """
        what, do = "item vectors", "Fit the vectors again"
        with loading(what, got=f"folder={folder}", expected=f"{CATALOGUE_FILE} and {VECTORS_FILE}", do=do):
            catalogue = Catalogue.load(folder / CATALOGUE_FILE)
            tensors = read_tensors(folder / VECTORS_FILE, TEXT)
            text = tensors[TEXT]
        ids = IdMap.load(folder / IDS_FILE)
        if ids != catalogue.ids or len(text) != len(ids) + 1:
            raise BundleError(
                f"Cannot load {what}",
                got=f"ids={len(ids)}, catalogue={len(catalogue)}, rows={len(text)}",
                expected="the same items in the same order, and one row more for padding",
                where=str(folder),
                do=do,
            )
        return cls(catalogue, text, tensors.get(TUNED), tensors.get(MODALITY))


def padded(rows: np.ndarray) -> torch.Tensor:
    """A row of zeros, for padding, before the items' rows. Shape (n, D) -> (n + 1, D), float32."""
    above = np.zeros((1, rows.shape[1]), dtype=np.float32)
    return torch.from_numpy(np.concatenate([above, rows.astype(np.float32)]))
