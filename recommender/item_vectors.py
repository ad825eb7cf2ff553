"""The items as the text encoder sees them: whitened vectors in the order of the id map. The `vectors` component."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recommender.catalogue import CATALOGUE_FILE, Catalogue
from recommender.errors import BundleError
from recommender.ids import IdMap

VECTORS_FILE = "vectors.safetensors"
IDS_FILE = "ids.json"
TEXT = "text"


@dataclass(frozen=True)
class ItemVectors:
    """The catalogue and one text vector per item.

    Attributes:
        text: Whitened, length 1; zeros for padding (row 0) and items without words. Shape (n_items + 1, D), float32.
    """

    catalogue: Catalogue
    text: torch.Tensor

    @property
    def ids(self) -> IdMap:
        return self.catalogue.ids

    @classmethod
    def from_rows(cls, catalogue: Catalogue, rows: np.ndarray) -> ItemVectors:
        """Put the padding row before the items' rows, shape (n_items, D)."""
        padded = np.concatenate([np.zeros((1, rows.shape[1]), dtype=np.float32), rows.astype(np.float32)])
        return cls(catalogue, torch.from_numpy(padded))

    def save(self, folder: Path) -> None:
        """Write catalogue, ids and vectors into a folder that exists."""
        self.catalogue.save(folder / CATALOGUE_FILE)
        self.ids.save(folder / IDS_FILE)
        save_file({TEXT: self.text.contiguous()}, folder / VECTORS_FILE)

    @classmethod
    def load(cls, folder: Path) -> ItemVectors:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable, or ids, catalogue and vectors do not belong together.
        """
        try:
            catalogue = Catalogue.load(folder / CATALOGUE_FILE)
            text = load_file(folder / VECTORS_FILE)[TEXT]
        except (OSError, KeyError, pa.ArrowException, SafetensorError) as error:
            raise BundleError(
                "Cannot load item vectors",
                got=f"folder={folder}",
                expected=f"{CATALOGUE_FILE} and {VECTORS_FILE}, but {error}",
                do="Fit the vectors again",
            ) from error
        ids = IdMap.load(folder / IDS_FILE)
        if ids != catalogue.ids or len(text) != len(ids) + 1:
            raise BundleError(
                "Cannot load item vectors",
                got=f"ids={len(ids)}, catalogue={len(catalogue)}, rows={len(text)}",
                expected="the same items in the same order, and one row more for padding",
                where=str(folder),
                do="Fit the vectors again",
            )
        return cls(catalogue, text)
