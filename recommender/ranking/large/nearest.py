"""The rows of a large matrix that have the largest products with a vector, found without looking at every row (FAISS).

An inverted file with 8-bit rows: rows lie in lists by the middle that they are nearest to, and the lists nearest to a
vector are read. How many are read is tried when the index is built: as few as still find what reading all would.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from core.storage import write_json
from recommender.fitting.component import loading, read_config

logger = logging.getLogger(__name__)

_BEST = 100
_STEP = 1.3
_TRIED = 64
_ROUNDS = 10
_PER_MIDDLE = 64
# Rows that may not come back: fewer are asked for in addition, more are named to the index.
_ASKED_BESIDE = 256
# Where few rows may come back, the lists that are read hold few of them: more are read.
_SPARSE_SHARE, _SPARSE_FACTOR = 0.2, 4


@dataclass(frozen=True)
class Allowed:
    """Which rows may come back.

    Attributes:
        mask: None is all. Shape (n,), bool.
        hidden: Rows that may not, whatever the mask says. Shape (N,), int64.
    """

    mask: np.ndarray | None
    hidden: np.ndarray
    _bits: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Those of some rows that may come back, in their order."""
        kept = rows if self.mask is None else rows[self.mask[rows]]
        return kept[~np.isin(kept, self.hidden)] if len(self.hidden) else kept

    @cached_property
    def all_rows(self) -> np.ndarray | None:
        """All of them; None where there is no mask. Shape (N,), int64."""
        return None if self.mask is None else self.of(np.flatnonzero(self.mask))

    @cached_property
    def share(self) -> float:
        """Of all rows, how many the mask lets through."""
        return 1.0 if self.mask is None else float(np.count_nonzero(self.mask)) / max(len(self.mask), 1)

    def bits(self, n: int) -> np.ndarray:
        """A bit for each of n rows, the least significant first."""
        if self._bits is None:
            mask = np.ones(n, dtype=bool) if self.mask is None else self.mask.copy()
            mask[self.hidden] = False
            object.__setattr__(self, "_bits", np.packbits(mask, bitorder="little"))
        assert self._bits is not None
        return self._bits


class NearestRows:
    """Finds rows. Safe to share between threads.

    Attributes:
        recall: Of the best 100 rows, the share that was found when it was built.

    Args:
        index: Of FAISS.
        n_read: Lists that are read for a vector.
    """

    def __init__(self, index: Any, n_read: int, recall: float) -> None:
        self._index, self._n_read, self.recall = index, n_read, recall

    @classmethod
    def build(cls, rows: np.ndarray, queries: np.ndarray, wanted_recall: float, seed: int = 0) -> NearestRows:
        """Make the index of a matrix.

        Args:
            rows: Shape (n, D), float32.
            queries: Vectors as they will be asked for. Shape (B, D).
            wanted_recall: Of the 100 best rows of a query so many are to be found in the mean.
        """
        import faiss

        n, width = rows.shape
        n_lists = max(int(2 ** round(np.log2(max(2 * np.sqrt(n), 1)))), 1)
        index: Any = faiss.index_factory(width, f"IVF{n_lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.seed = _ROUNDS, seed
        index.cp.min_points_per_centroid = 1
        sample = np.random.default_rng(seed).choice(n, min(n, _PER_MIDDLE * n_lists), replace=False)
        index.train(np.ascontiguousarray(rows[np.sort(sample)]))
        index.add(np.ascontiguousarray(rows))
        found = cls(index, n_lists, 1.0)
        found._choose(rows, queries[:_TRIED].astype(np.float32), wanted_recall)
        return found

    def search(self, query: np.ndarray, n: int, allowed: Allowed) -> np.ndarray:
        """About the n rows with the largest products with a vector, best first. Shape (at most n,), int64."""
        import faiss

        faiss.omp_set_num_threads(1)  # of this thread
        is_few = allowed.mask is None and len(allowed.hidden) <= _ASKED_BESIDE
        n_read = self._n_read * (_SPARSE_FACTOR if allowed.share < _SPARSE_SHARE else 1)
        given: dict[str, Any] = {"nprobe": min(n_read, self._index.nlist)}
        if not is_few:
            bits = allowed.bits(self._index.ntotal)
            given["sel"] = faiss.IDSelectorBitmap(self._index.ntotal, faiss.swig_ptr(bits))
        wanted = n + len(allowed.hidden) if is_few else n
        parameters = faiss.SearchParametersIVF(**given)
        _, places = self._index.search(
            query.astype(np.float32)[None], min(wanted, self._index.ntotal), params=parameters
        )
        found: np.ndarray = places[0][places[0] >= 0]
        return (allowed.of(found) if is_few else found)[:n]

    def save(self, folder: Path, name: str) -> None:
        """Write it into a folder that exists."""
        import faiss

        faiss.write_index(self._index, str(folder / f"{name}.faiss"))
        write_json(folder / f"{name}.json", {"n_read": self._n_read, "recall": self.recall})

    @classmethod
    def load(cls, folder: Path, name: str) -> NearestRows:
        """Read what `save` wrote; the rows are mapped, so that processes share them.

        Raises:
            BundleError: a file is missing or damaged.
        """
        import faiss

        config: Mapping[str, Any] = read_config(folder / f"{name}.json")
        with loading("index", got=f"folder={folder}", expected=f"{name}.faiss", do="Remove the folder"):
            index = faiss.read_index(str(folder / f"{name}.faiss"), faiss.IO_FLAG_MMAP_IFC)
            return cls(index, int(config["n_read"]), float(config["recall"]))

    def _choose(self, rows: np.ndarray, queries: np.ndarray, wanted_recall: float) -> None:
        """Read as few lists as find enough."""
        n = min(_BEST, len(rows))
        products = queries @ rows.T
        best = [set(np.argpartition(-one, n - 1)[:n].tolist()) for one in products]
        nobody = Allowed(None, np.zeros(0, dtype=np.int64))
        n_read = 1
        while True:
            self._n_read = min(n_read, int(self._index.nlist))
            shares = [
                len(own & set(self.search(one, n, nobody).tolist())) / n for own, one in zip(best, queries, strict=True)
            ]
            self.recall = float(np.mean(shares)) if shares else 1.0
            if self.recall >= wanted_recall or self._n_read == self._index.nlist:
                return
            n_read = int(np.ceil(n_read * _STEP))
